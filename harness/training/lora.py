"""PEFT's LoRA layers with the fused kernel, told apart by what they have; PEFT itself is not imported."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...kernels import LoraWeights, lora_linear


def is_lora(module: nn.Module) -> bool:
    """Whether a module looks like a layer of ``peft.tuners.lora``."""
    return all(
        hasattr(module, name) for name in ("base_layer", "lora_A", "lora_B", "scaling", "lora_dropout")
    )


def obstacle(module: Any) -> str | None:
    """Why the kernel cannot stand in for this layer, now.

    Args:
        module: A LoRA layer.

    Returns:
        The reason, None if it can.
    """
    base = module.base_layer
    if type(base) is not nn.Linear:
        return f"the base layer is {type(base).__name__}, not Linear"
    if base.weight.requires_grad or (base.bias is not None and base.bias.requires_grad):
        return "the base layer is trained too"
    active = [name for name in module.active_adapters if name in module.lora_A]
    if len(active) != 1:
        return f"{len(active)} adapters are active, not 1"
    name = active[0]
    if name in getattr(module, "lora_variant", {}):
        return f"adapter {name!r} is a variant ({type(module.lora_variant[name]).__name__})"
    if module.lora_A[name].bias is not None or module.lora_B[name].bias is not None:
        return f"adapter {name!r} has biases"
    if not isinstance(module.lora_dropout[name], (nn.Dropout, nn.Identity)):
        return f"adapter {name!r} has dropout {type(module.lora_dropout[name]).__name__}"
    return None


def adapted(module: Any) -> LoraWeights | None:
    """The weights that the kernels take.

    Args:
        module: Any module.

    Returns:
        None if it is no LoRA layer, or one that the kernels cannot stand in for at this moment: its adapters
        are off or merged, or there is an ``obstacle``.
    """
    if not is_lora(module) or module.disable_adapters or module.merged or obstacle(module) is not None:
        return None
    name = next(name for name in module.active_adapters if name in module.lora_A)
    return LoraWeights(
        weight=module.base_layer.weight,
        lora_a=module.lora_A[name].weight,
        lora_b=module.lora_B[name].weight,
        scaling=float(module.scaling[name]),
        bias=module.base_layer.bias,
    )


def adapted_together(*modules: Any) -> tuple[list[LoraWeights], float] | None:
    """Several layers' weights and the dropout they share; None if one has none or dropouts differ."""
    weights = [adapted(module) for module in modules]
    if any(of_one is None for of_one in weights):
        return None
    rates = {dropout_rate(module) for module in modules}
    return ([of_one for of_one in weights if of_one is not None], rates.pop()) if len(rates) == 1 else None


def dropout_rate(module: Any) -> float:
    """Dropout of the active adapter."""
    name = next(name for name in module.active_adapters if name in module.lora_A)
    dropout = module.lora_dropout[name]
    return float(dropout.p) if isinstance(dropout, nn.Dropout) else 0.0


def lora_forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Stands in for ``peft.tuners.lora.layer.Linear.forward``.

    Adapters that are switched off, merged or called with further arguments go through the class's own
    forward.
    """
    weights = None if args or kwargs else adapted(self)
    if weights is None:
        out: Tensor = type(self).forward(self, x, *args, **kwargs)
        return out
    return lora_linear(
        x,
        weights.weight,
        weights.lora_a,
        weights.lora_b,
        scaling=weights.scaling,
        bias=weights.bias,
        dropout_p=dropout_rate(self),
        training=self.training,
    )
