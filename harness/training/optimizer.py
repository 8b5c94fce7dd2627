"""The optimizer of a run, with the parameter groups that ``Trainer`` makes."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .config import TrainingConfig

logger = logging.getLogger(__name__)

#: ``Trainer.get_decay_parameter_names`` (transformers 5.x): names of parameters that do not decay.
_NO_DECAY: Final = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes, each once.

    Args:
        model: The model.

    Returns:
        Parameters that require a gradient, in the model's order.

    Raises:
        ValueError: There are none.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(
            f"{type(model).__name__} has no parameter that requires a gradient, nothing can be trained"
        )
    return parameters


def make_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    """Make the optimizer.

    Args:
        model: The model.
        config: The settings.

    Returns:
        The optimizer over two groups, with and without weight decay. ``adamw_torch_fused`` becomes
        ``adamw_torch`` where torch has no fused kernel for the model's device or dtype, with a warning in the
        log.
    """
    groups = _groups(model, config.weight_decay)
    rate = config.learning_rate
    if config.optim == "sgd":
        return torch.optim.SGD(groups, lr=rate)
    if config.optim == "adagrad":
        return torch.optim.Adagrad(groups, lr=rate)
    if config.optim == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate)
    if config.optim == "adafactor":
        from transformers.optimization import Adafactor

        make: Any = Adafactor
        adafactor: Optimizer = make(groups, lr=rate, scale_parameter=False, relative_step=False)
        return adafactor
    betas, eps = (config.adam_beta1, config.adam_beta2), config.adam_epsilon
    if config.optim == "adamw_torch_fused":
        try:
            return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=True)
        except RuntimeError as error:
            logger.warning("adamw_torch_fused is unavailable here, adamw_torch runs instead: %s", error)
            groups = _groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    in_layer_norm = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.LayerNorm)
        for parameter in module.parameters()
    }
    decaying: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spared = _NO_DECAY.search(name.lower()) or id(parameter) in in_layer_norm
            (plain if spared else decaying).append(parameter)
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
