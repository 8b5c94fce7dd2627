"""Fine-tune a causal language model: the entry point."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from .batches import DataSource
from .checkpoint import recover
from .collation import Collator, PackedCollator, accepted_keys, takes_mask
from .events import Event, Handler, TrainingBegan, TrainingEnded
from .fusion import is_llama
from .losses import LossCall, innermost, loss_protocol
from .modes import fused, mode, recomputation
from .optimizer import make_optimizer, trained_parameters
from .plan import plan_training
from .precision import Precision
from .progress import Progress
from .ranks import Ranks
from .result import TrainingResult
from .run import Parts, Run
from .schedule import Schedule
from .snapshot import find_checkpoint, restore_run

if TYPE_CHECKING:
    from torch import nn

    from .config import TrainingConfig


def fine_tune(
    model: nn.Module,
    train_dataset: Any,
    config: TrainingConfig,
    *,
    eval_dataset: Any = None,
    resume_from: str | Path | bool | None = None,
    on_event: Handler | None = None,
) -> TrainingResult:
    """Fine-tune a model.

    A ``LlamaForCausalLM``, bare or under PEFT's LoRA, runs with the fused kernels while it trains and has its
    own code back afterwards. Any other model that returns ``.loss`` trains with its own code. The model stays
    on its device. Under ``torch.distributed`` every rank calls this with the same arguments.

    Args:
        model: The model. Its parameters are changed in place.
        train_dataset: Map-style or iterable dataset of rows ``{"input_ids": (L,), "labels": (L,), …}`` of any
            lengths; labels are not shifted, -100 is not counted.
        config: The settings.
        eval_dataset: Map-style dataset of such rows; needed if ``eval_strategy`` is not ``no``.
        resume_from: A checkpoint's path, or True for the newest in ``output_dir``.
        on_event: Is told what happens; may raise ``StopTraining``.

    Returns:
        What the run claims.

    Raises:
        ValueError: Settings, data, model or checkpoint do not fit together; the message shows the values.
    """
    if config.eval_strategy != "no" and eval_dataset is None:
        raise ValueError(f"eval_strategy={config.eval_strategy!r} needs an eval_dataset, got None")
    tell: Handler = on_event or _ignore
    ranks = Ranks.current()
    collate = _collator(model, config)
    source = DataSource(train_dataset, config, collate, rank=ranks.rank, ranks=ranks.count)
    plan = plan_training(config, rows=source.rows, ranks=ranks.count)
    if isinstance(train_dataset, IterableDataset) and config.dataloader_num_workers:
        raise ValueError(
            f"an iterable dataset is read in this process, got {config.dataloader_num_workers} workers"
        )
    _seed(config.seed)
    if config.output_dir is not None and ranks.is_main:
        recover(Path(config.output_dir))
    ranks.barrier()
    with mode(model, training=True), fused(model, config) as (kernels, backend), recomputation(model, config):
        parameters = trained_parameters(model)
        ranks.agree_on_parameters(model.parameters())
        device = parameters[0].device
        precision = Precision(config, parameters, device)
        optimizer = make_optimizer(model, config)
        precision.watch(optimizer)
        schedule = Schedule(optimizer, config, total=plan.max_steps)
        progress = Progress()
        if resume_from is not None and resume_from is not False:
            progress = restore_run(
                find_checkpoint(resume_from, config),
                model=model,
                optimizer=optimizer,
                schedule=schedule,
                precision=precision,
                config=config,
                plan=plan,
                ranks=ranks,
            )
        call = LossCall(
            model=model,
            protocol=loss_protocol(model),
            device=device,
            fused=bool(kernels) and is_llama(model),
            no_cache="use_cache" in inspect.signature(type(innermost(model)).forward).parameters,
        )
        run = Run(
            Parts(
                model=model,
                config=config,
                plan=plan,
                source=source,
                collate=collate,
                call=call,
                optimizer=optimizer,
                schedule=schedule,
                precision=precision,
                ranks=ranks,
                eval_dataset=eval_dataset,
                on_event=tell,
            ),
            progress,
        )
        tell(TrainingBegan(plan=plan, global_step=progress.global_step, kernels=kernels, backend=backend))
        optimizer.zero_grad(set_to_none=True)
        run.train()
    tell(TrainingEnded(global_step=progress.global_step, stopped=run.stopped))
    return TrainingResult(
        global_step=progress.global_step,
        epoch=progress.claimed_epoch,
        max_steps=plan.max_steps,
        log_history=tuple(progress.log_history),
        num_input_tokens_seen=progress.num_input_tokens_seen,
        skipped=progress.skipped,
        train_loss=progress.whole.token_mean,
        stopped=run.stopped,
        kernels=kernels,
        backend=backend,
    )


def _collator(model: nn.Module, config: TrainingConfig) -> Collator | PackedCollator:
    inner = innermost(model)
    if config.packing:
        if "position_ids" not in accepted_keys(inner):
            raise ValueError(f"packing=True, but {type(inner).__name__}.forward takes no position_ids")
        return PackedCollator(max_length=config.max_length)
    pad = getattr(getattr(inner, "config", None), "pad_token_id", None)
    return Collator(
        pad_token_id=pad or 0,
        max_length=config.max_length,
        extra_keys=accepted_keys(inner),
        takes_mask=takes_mask(inner),
    )


def _seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)


def _ignore(event: Event) -> None:
    del event


__all__ = ["fine_tune"]
