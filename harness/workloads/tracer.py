"""The tracer model: one float64 parameter per row, so that the gradient an optimizer gets is the books.

The loss of a micro-batch is `-Σ w[row]` over its label tokens, divided as the trainer asks. Entry *i* of
the gradient is then minus (label tokens of row *i*) x (weight of each of them in this update): with token
averaging exactly `-tokens_i / N`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from ...scenarios import LossProtocol, Scenario
from .rows import EVAL_ROWS, IGNORE_INDEX

__all__ = ["TracerConfig", "TracerForCausalLM", "TracerOutput", "build_tracer"]


class TracerConfig(PretrainedConfig):
    """Configuration of the tracer: its vocabulary is the rows, the evaluation rows and padding."""

    model_type = "stepaudit_tracer"

    def __init__(self, vocab_size: int = 2, **kwargs: Any) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = 1
        self.num_hidden_layers = 1
        super().__init__(**kwargs)


@dataclass
class TracerOutput(ModelOutput):
    """What the tracer's forward returns.

    Attributes:
        loss: scalar, float64; None without labels.
        logits: `[batch, length, 1]`, the parameter of every input token.
        token_losses: `[batch, length - 1]`, loss of every label after the shift, 0 where the label is -100.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    token_losses: Tensor | None = None


class TracerForCausalLM(PreTrainedModel, GenerationMixin):
    """The tracer as a real model; subclasses differ in what their forward does with the divisor.

    The name ends in `ForCausalLM` because trainers read from it that labels are shifted inside the model.
    """

    config_class = TracerConfig
    base_model_prefix = "tracer"
    main_input_name = "input_ids"
    _no_split_modules: list[str] = []  # noqa: RUF012  an attribute of the base class, which declares it so

    def __init__(self, config: TracerConfig) -> None:
        super().__init__(config)
        rows = torch.arange(config.vocab_size, dtype=torch.float64)
        self.rows = nn.Parameter(1.0 + torch.remainder(rows, 8) / 8)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def can_generate(cls) -> bool:
        """It has nothing to say; so that no generation config is built, which takes longer than a short run."""
        return False

    def _init_weights(self, module: nn.Module) -> None:
        """Keep the constructor's values: they are exact binary fractions that tell rows apart."""

    def get_input_embeddings(self) -> nn.Module:
        """Return the model itself: it is its own embedding."""
        return self

    def _losses(
        self, input_ids: Tensor, labels: Tensor | None, divisor: Tensor | float | None
    ) -> TracerOutput:
        logits = self.rows[input_ids].unsqueeze(-1)
        if labels is None:
            return TracerOutput(logits=logits)
        target = labels[..., 1:]
        counted = target != IGNORE_INDEX
        token_losses = torch.where(counted, -self.rows[target.clamp(min=0)], 0.0)
        if divisor is None:
            divisor = counted.sum()
        return TracerOutput(loss=token_losses.sum() / divisor, logits=logits, token_losses=token_losses)


class _NoneForCausalLM(TracerForCausalLM):
    """Protocol `none`: no loss keyword in the signature."""

    def forward(
        self, input_ids: Tensor, labels: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> TracerOutput:
        """Mean over the micro-batch's own label tokens."""
        del attention_mask
        return self._losses(input_ids, labels, None)


class _HonouredForCausalLM(TracerForCausalLM):
    """Protocol `honoured`: divides by `num_items_in_batch` when it is given."""

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **loss_kwargs: Any,  # transformers 4.46 knows by this very name that the divisor is welcome
    ) -> TracerOutput:
        """Sum of the token losses over `num_items_in_batch`, or their mean without it."""
        del attention_mask, loss_kwargs
        return self._losses(input_ids, labels, num_items_in_batch)


class _IgnoredForCausalLM(TracerForCausalLM):
    """Protocol `ignored`: accepts any keyword, reads none."""

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> TracerOutput:
        """Mean over the micro-batch's own label tokens, whatever the trainer hands over."""
        del attention_mask, kwargs
        return self._losses(input_ids, labels, None)


_CLASSES: dict[LossProtocol, type[TracerForCausalLM]] = {
    LossProtocol.NONE: _NoneForCausalLM,
    LossProtocol.HONOURED: _HonouredForCausalLM,
    LossProtocol.IGNORED: _IgnoredForCausalLM,
    LossProtocol.OVERRIDDEN: _HonouredForCausalLM,
}


def build_tracer(scenario: Scenario) -> TracerForCausalLM:
    """Build the tracer for a scenario: `rows + EVAL_ROWS + 1` parameters (the last one is padding's)."""
    return _CLASSES[scenario.loss_protocol](TracerConfig(vocab_size=scenario.rows + EVAL_ROWS + 1))
