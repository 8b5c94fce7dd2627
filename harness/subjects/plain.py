"""Subject `plain`: a correct fine-tuning loop in plain torch, written to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...scenarios import LossProtocol, Scenario
from ..ledger import Claims
from ..running.environment import Environment
from .subject import Bench, common_limits, schedule_limits

__all__ = ["PlainLoop"]


class PlainLoop:
    """Every label token of a window weighs the same, whatever the model does with a divisor."""

    name = "plain"
    contract = "token-mean"
    packages = ("torch", "transformers")
    imports = ("stepaudit.harness.subjects.loop_parts",)
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    def supports(self, scenario: Scenario) -> str | None:
        """One rank; the loss comes from the model."""
        protocols = (LossProtocol.NONE, LossProtocol.HONOURED, LossProtocol.IGNORED)
        return common_limits(scenario, protocols=protocols) or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        import torch
        from torch.nn.utils import clip_grad_norm_

        from .loop_parts import Journal, build_optimizer, build_schedule, label_tokens, length_of, loader_of, target_of

        scenario, model = bench.scenario, bench.model
        loader = loader_of(bench)
        target = target_of(scenario, length_of(loader))
        optimizer = build_optimizer(scenario, model)
        schedule = build_schedule(scenario, optimizer, target)
        journal = Journal(bench, length_of(loader), target)

        passes = tokens_seen = 0
        model.train()
        while not journal.finished:
            done = 0
            for done, window in windows_of(loader, scenario.grad_accum):
                total = sum(label_tokens(batch) for batch in window)
                for batch in window:
                    # The model returns the mean over the micro-batch's own label tokens.
                    loss = model(**batch).loss * (label_tokens(batch) / total)
                    loss.backward()
                    journal.add_loss(loss.item())
                    tokens_seen += int(batch["attention_mask"].sum())
                norm = clip_grad_norm_(model.parameters(), scenario.max_grad_norm or torch.inf)
                (rate, *_) = schedule.get_last_lr()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                journal.updated(passes=passes, done=done, rate=rate, norm=norm)
                if journal.finished:
                    break
            if not done:
                break  # an iterable dataset that yields nothing
            passes += 1
        return journal.close(input_tokens=tokens_seen)


def windows_of(loader: Iterable[Any], grad_accum: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield (micro-batches done, window): `grad_accum` micro-batches at a time, the last window may be short."""
    window: list[Any] = []
    done = 0
    for done, batch in enumerate(loader, start=1):  # noqa: B007  used after the loop
        window.append(batch)
        if len(window) == grad_accum:
            yield done, window
            window = []
    if window:
        yield done, window
