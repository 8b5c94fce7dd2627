"""Subject `plain`: a correct fine-tuning loop in plain torch, written to be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from ...scenarios import DatasetKind, Precision, Scenario
from ..ledger import Claims
from .environment import Environment
from .subject import MODEL_LOSS, Bench, common_limits, schedule_limits

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
        """The loss comes from the model; several ranks share sized data only."""
        if scenario.ranks > 1 and scenario.dataset is DatasetKind.ITERABLE:
            return (
                f"dataset iterable on {scenario.ranks} ranks: torch's DistributedSampler deals out sized data"
            )
        limits = common_limits(
            scenario, protocols=MODEL_LOSS, precisions=tuple(Precision), contract=self.contract, on_ranks=True
        )
        return limits or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        from .loop_parts import process_group

        with process_group() as ranks:
            return _train(bench, ranks)


def _train(bench: Bench, ranks: int) -> Claims:  # noqa: PLR0915  a loop to be read from top to bottom
    import torch
    from torch.nn.parallel import DistributedDataParallel
    from torch.nn.utils import clip_grad_norm_

    from .loop_parts import (
        Journal,
        autocast_of,
        build_optimizer,
        build_schedule,
        label_tokens,
        last_checkpoint,
        length_of,
        loader_of,
        sum_over_ranks,
        target_of,
        to_device,
    )

    scenario = bench.scenario
    device = next(bench.model.parameters()).device
    loader = loader_of(bench, ranks)
    target = target_of(scenario, length_of(loader))
    optimizer = build_optimizer(scenario, bench.model)
    schedule = build_schedule(scenario, optimizer, target)
    scaler = torch.amp.GradScaler(device.type, enabled=scenario.precision is Precision.FP16)
    parts = {"model": bench.model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    journal = Journal(bench, length_of(loader), target, parts)

    passes = skip = tokens_seen = 0
    if bench.resume:
        place = journal.restore(last_checkpoint(bench.output_dir))
        passes, skip, tokens_seen = place["passes"], place["done"], place["tokens_seen"]
        loader.generator.set_state(place["order"])
    model = bench.model if ranks == 1 else DistributedDataParallel(bench.model)
    model.train()
    while not journal.finished:
        order = loader.generator.get_state()  # the pass draws its order from it
        if ranks > 1:
            loader.sampler.set_epoch(passes)  # type: ignore[attr-defined]  # there it is a DistributedSampler
        done = skip
        for done, window in windows_of(loader, scenario.grad_accum, skip):
            (total,) = sum_over_ranks([sum(label_tokens(batch) for batch in window)])
            window_loss = window_tokens = 0.0
            for batch in window:
                # The model returns the mean over the micro-batch's own label tokens.
                with autocast_of(scenario, device):
                    loss = model(**to_device(batch, device)).loss * (label_tokens(batch) / total)
                scaler.scale(loss * ranks).backward()  # DistributedDataParallel averages over the ranks
                window_loss += loss.item()
                window_tokens += int(batch["attention_mask"].sum())
            window_loss, window_tokens = sum_over_ranks([window_loss, window_tokens])
            journal.add_loss(window_loss)
            tokens_seen += round(window_tokens)
            scaler.unscale_(optimizer)
            norm = clip_grad_norm_(model.parameters(), scenario.max_grad_norm or torch.inf)
            (rate, *_) = schedule.get_last_lr()
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if scaler.get_scale() < scale:
                journal.suppressed()  # an infinity in float16: the optimizer was not called
            else:
                schedule.step()
                place = {"passes": passes, "done": done, "tokens_seen": tokens_seen, "order": order}
                journal.updated(passes=passes, done=done, rate=rate, norm=norm, place=place)
            if journal.finished:
                break
        if not done:
            break  # an iterable dataset that yields nothing
        passes, skip = passes + 1, 0
    return journal.close(input_tokens=tokens_seen)


def windows_of(loader: Iterable[Any], grad_accum: int, skip: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield (micro-batches done, window) after the first `skip` micro-batches.

    A window is `grad_accum` of them, the last one may be short.
    """
    window: list[Any] = []
    done = skip
    for done, batch in enumerate(itertools.islice(loader, skip, None), start=skip + 1):
        window.append(batch)
        if len(window) == grad_accum:
            yield done, window
            window = []
    if window:
        yield done, window
