"""What a finished run claims."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """The claims of a run; every one of them can be checked against what it did.

    Attributes:
        global_step: Updates made, suppressed ones excluded.
        epoch: Fractional epochs done.
        max_steps: Updates planned.
        log_history: Entries in ``Trainer``'s form (``loss``, ``grad_norm``, ``learning_rate``, ``epoch``,
            ``step``), the last one with ``train_loss`` and ``train_runtime`` in seconds.
        num_input_tokens_seen: Tokens trained on, without padding, over all ranks.
        skipped: Updates that the loss scaler suppressed.
        train_loss: Mean token loss of the whole run, resumed parts included.
        stopped: Whether an event handler ended the run early.
        kernels: Fused kernels that ran in this model.
        backend: What ran them: ``torch``, ``triton`` or ``none``.
    """

    global_step: int
    epoch: float
    max_steps: int
    log_history: tuple[dict[str, float], ...]
    num_input_tokens_seen: int
    skipped: int
    train_loss: float
    stopped: bool
    kernels: tuple[str, ...]
    backend: str
