"""Swap the fused kernels into one model instance, and out again.

Only instances change: each touched module gets a ``forward`` of its own, which hides that of its class. Two
models of one class may be fused and unfused side by side. A part that is not exactly what a kernel computes
(another class, another activation, an adapter of another kind) keeps its own code, and the report says so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from . import llama, lora

if TYPE_CHECKING:
    from collections.abc import Callable

_HANDLE: Final = "_fusion"
_ABSENT: Final = object()


@dataclass(kw_only=True, slots=True)
class Fusion:
    """What was swapped in.

    Attributes:
        kernels: How many modules run each kernel.
        left: How many modules kept their own code, by reason.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    _before: list[tuple[nn.Module, Any]] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """Kernels in use, in alphabetical order."""
        return tuple(sorted(self.kernels))

    def swap(self, module: nn.Module, forward: Callable[..., Any], kernel: str) -> None:
        """Give one module a forward of its own."""
        own = vars(module)
        self._before.append((module, own.get("forward", _ABSENT)))
        own["forward"] = MethodType(forward, module)
        self.kernels[kernel] += 1

    def restore(self) -> None:
        """Take every such forward away again."""
        for module, forward in reversed(self._before):
            if forward is _ABSENT:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward
        self._before.clear()


def fuse(model: nn.Module) -> Fusion:
    """Swap the kernels in.

    Args:
        model: A ``LlamaForCausalLM``, bare or inside PEFT's LoRA wrapper. Any other model is left as it is.

    Returns:
        What was swapped; without any kernel for a model of another kind.

    Raises:
        ValueError: The model is fused already.
    """
    if _HANDLE in vars(model):
        raise ValueError(f"this {type(model).__name__} is fused already, call unfuse(model) first")
    fusion = Fusion()
    try:
        for module in list(model.modules()):
            if type(module).__module__ == "transformers.models.llama.modeling_llama":
                _fuse_llama(fusion, module)
            elif lora.is_lora(module):
                reason = lora.obstacle(module)
                if reason is None:
                    fusion.swap(module, lora.lora_forward, "lora_linear")
                else:
                    fusion.left[f"lora: {reason}"] += 1
    except BaseException:
        fusion.restore()
        raise
    vars(model)[_HANDLE] = fusion
    return fusion


def unfuse(model: nn.Module) -> None:
    """Swap the kernels out: every module's attributes are again what they were before ``fuse``.

    Args:
        model: A fused model; one that is not fused is left as it is.
    """
    fusion = vars(model).pop(_HANDLE, None)
    if fusion is not None:
        fusion.restore()


def is_llama(model: nn.Module) -> bool:
    """Whether the model is transformers' ``LlamaForCausalLM``, bare or wrapped, and no subclass of it."""
    return any(
        type(module).__name__ == "LlamaForCausalLM"
        and type(module).__module__ == "transformers.models.llama.modeling_llama"
        for module in model.modules()
    )


def _fuse_llama(fusion: Fusion, module: Any) -> None:
    part = _PARTS.get(type(module).__name__)
    if part is not None:
        part(fusion, module)


def _norm(fusion: Fusion, module: Any) -> None:
    fusion.swap(module, llama.norm_forward, "rms_norm")


def _mlp(fusion: Fusion, module: Any) -> None:
    if module.config.hidden_act not in {"silu", "swish"}:
        fusion.left[f"mlp: hidden_act {module.config.hidden_act!r}"] += 1
        return
    together = lora.adapted_together(module.gate_proj, module.up_proj, module.down_proj)
    fusion.swap(module, llama.mlp_forward, "swiglu" if together is None else "lora_mlp")


def _attention(fusion: Fusion, module: Any) -> None:
    fusion.swap(module, llama.attention_forward, "rope")
    if lora.adapted_together(module.q_proj, module.k_proj, module.v_proj) is not None:
        fusion.kernels["lora_qkv"] += 1


def _layer(fusion: Fusion, module: Any) -> None:
    if type(module.post_attention_layernorm).__name__ == "LlamaRMSNorm":
        fusion.swap(module, llama.layer_forward, "add_rms_norm")
    else:
        fusion.left["layer: its norm is wrapped"] += 1


def _head(fusion: Fusion, module: Any) -> None:
    if type(module.lm_head) is nn.Linear:
        fusion.swap(module, llama.causal_lm_forward, "fused_linear_cross_entropy")
    else:
        fusion.left[f"head: {type(module.lm_head).__name__}"] += 1


_PARTS: Final[dict[str, Callable[[Fusion, Any], None]]] = {
    "LlamaRMSNorm": _norm,
    "LlamaMLP": _mlp,
    "LlamaAttention": _attention,
    "LlamaDecoderLayer": _layer,
    "LlamaForCausalLM": _head,
}
