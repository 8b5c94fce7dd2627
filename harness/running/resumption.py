"""A run that is interrupted and resumed, and the same run without interruption beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...scenarios import Scenario
from ..contract import contract_named, expect
from ..ledger import Account, Claims, Resumption, Saved, UpdateDigest, account_of
from ..probes import Interruption
from ..subjects import Subject
from .sitting import Sitting

__all__ = ["NotResumableError", "Resumed", "train_resumed"]


class NotResumableError(Exception):
    """The loop was never meant to be resumed; the message is the reason why the cell is unsupported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """The interrupted and resumed run, with its claims and the comparison that it is judged by."""

    sitting: Sitting
    claims: Claims
    resumption: Resumption


def train_resumed(
    subject: Subject,
    scenario: Scenario,
    contract: str,
    options: dict[str, Any],
    scratch: Path,
    *,
    into: list[Sitting],
) -> Resumed:
    """Train without interruption; then interrupted after update `resume_at`, and on from the newest checkpoint.

    The checkpoints are those of the scenario's `save_steps`, or one at every multiple of `resume_at`. The interruption
    comes when everything that belongs to update `resume_at` is done: when the next micro-batch is about to begin or,
    where the next window has several, inside it, so that gradients that were computed are lost and computed again.

    Args:
        subject: the trainer.
        scenario: with `resume_at`.
        contract: name of the one that says how long the run is.
        options: of the tier.
        scratch: an empty directory.
        into: gets the sitting whose ledger is the cell's, before it trains.

    Raises:
        NotResumableError: a loop of one's own never looks for a checkpoint to go on from.
        RuntimeError: the trainer ended before the interruption, or wrote no checkpoint before it.
    """
    after = scenario.resume_at
    assert after is not None
    asked = scenario.with_(resume_at=None, save_steps=scenario.save_steps or after)
    through = Sitting.begin(asked, contract, options)
    into.append(through)
    if "resume_from_checkpoint" in through.train(subject, scratch / "through").unread:
        raise NotResumableError("resume: the loop never reads args.resume_from_checkpoint")
    whole = account_of(through.recorder.close())

    sitting = Sitting.begin(asked, contract, options, interrupt_after=after)
    into.append(sitting)
    try:
        sitting.train(subject, scratch / "resumed")
    except Interruption:
        pass
    else:
        raise RuntimeError(f"the run ended before it could be interrupted after optimizer step {after}")
    saved = _checkpoints(sitting, scratch / "resumed")
    if not saved:
        raise RuntimeError(
            "the trainer wrote no checkpoint (a directory checkpoint-N in output_dir, N the optimizer steps done) "
            f"before the interruption after optimizer step {after}"
        )
    at = max(saved)
    next_pass = _next_pass(
        account_of(sitting.recorder.close()), at, expect(asked, contract_named(contract)).terms.M
    )
    sitting.in_progress.rewind(at)
    sitting.recorder.interrupted(resumed_at=at, next_pass=next_pass)
    claims = sitting.train(subject, scratch / "resumed", resume=True)
    return Resumed(
        sitting=sitting,
        claims=claims,
        resumption=Resumption(
            interrupted_after=after,
            resumed_at=at,
            uninterrupted=tuple(
                UpdateDigest(
                    rows=tuple(item.rows for item in update.window),
                    learning_rates=update.learning_rates,
                    weights=update.weights,
                    grad_norm=update.grad_norm,
                )
                for update in whole.done
            ),
            parameter_distance=_distance(through.model, sitting.model),
        ),
    )


def _checkpoints(sitting: Sitting, directory: Path) -> list[int]:
    """Return the optimizer steps after which there are checkpoints: those that were told of, else those on disk."""
    told = [event.global_step for event in sitting.recorder.events if isinstance(event, Saved)]
    names = [path.name.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*")]
    return told or [int(name) for name in names if name.isdecimal()]


def _next_pass(account: Account, at: int, per_epoch: int) -> int:
    """Return the pass from which the micro-batch after update `at` comes."""
    kept = [item for update in account.done[:at] for item in update.window]
    if not kept:
        return 0
    current = kept[-1].epoch
    return current + (sum(item.epoch == current for item in kept) >= per_epoch)


def _distance(one: Any, other: Any) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    with torch.no_grad():
        return max(float((left.double() - right.double()).abs().max()) for left, right in pairs)
