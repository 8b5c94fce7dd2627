"""Random Llamas over bytes: the models of the numeric tier, with the loss protocols that a scenario can ask for."""

from __future__ import annotations

import warnings
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from ...scenarios import LossProtocol, ModelKind, Scenario
from .text import BEGIN, END, PAD, VOCAB_SIZE

__all__ = ["build_exact_llama", "build_llama"]

_SIZES: dict[ModelKind, dict[str, Any]] = {
    ModelKind.TINY_LLAMA: {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1},
    ModelKind.TINY_LLAMA_LORA: {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1},
    ModelKind.LLAMA: {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8},
}
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _NoneForCausalLM(LlamaForCausalLM):
    """Protocol `none`: no loss keyword in the signature."""

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001  the signature of the base class
    ) -> Any:
        """Mean over the micro-batch's own label tokens."""
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, labels=labels, use_cache=use_cache
        )


class _IgnoredForCausalLM(LlamaForCausalLM):
    """Protocol `ignored`: accepts any keyword, reads none."""

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001  the signature of the base class
        **kwargs: Any,
    ) -> Any:
        """Mean over the micro-batch's own label tokens, whatever the trainer hands over."""
        del kwargs
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, labels=labels, use_cache=use_cache
        )


_CLASSES: dict[LossProtocol, type[Any]] = {
    LossProtocol.NONE: _NoneForCausalLM,
    LossProtocol.HONOURED: LlamaForCausalLM,
    LossProtocol.IGNORED: _IgnoredForCausalLM,
    LossProtocol.OVERRIDDEN: LlamaForCausalLM,
}


def build_llama(scenario: Scenario) -> nn.Module:
    """Build the model of a scenario in float32, the same for the same seed; the global random state stays as it is.

    The weights are drawn wide enough for every parameter to have a gradient well above rounding; so is the B of
    the adapters, which PEFT would begin at zero (then A has no gradient).
    """
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        initializer_range=0.1,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
        **_SIZES[scenario.model],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(scenario.seed)
        model: nn.Module = _CLASSES[scenario.loss_protocol](config)
        if scenario.model is ModelKind.TINY_LLAMA_LORA:
            model = _with_adapters(model)
    return model


def build_exact_llama(scenario: Scenario) -> nn.Module:
    """Build the same model in float64, all of it: transformers' norm goes through float32 in any dtype."""
    model = build_llama(scenario).double()
    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = MethodType(_exact_norm, module)
    return model


def _exact_norm(self: Any, hidden_states: Tensor) -> Tensor:
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    normed: Tensor = self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))
    return normed


def _with_adapters(model: nn.Module) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, lora_alpha=8, target_modules=list(_ADAPTED), task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5.23 by a name that is going away
        warnings.filterwarnings("ignore", category=FutureWarning)
        adapted: nn.Module = get_peft_model(model, settings)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return adapted
