"""Tiny real loops, each wrong (or right) in what it divides its gradients by, or in when it ends."""

from __future__ import annotations

import math

import torch
from torch.utils.data import DataLoader


def labels_of(batch):
    return int((batch["labels"][..., 1:] != -100).sum())


def _train(model, dataset, args, scale, *, limit=None):
    """`scale` says what a micro-batch's summed token losses are multiplied with."""
    loader = DataLoader(
        dataset,
        batch_size=args.per_device_train_batch_size,
        shuffle=True,
        drop_last=args.dataloader_drop_last,
    )
    accum = args.gradient_accumulation_steps
    per_epoch = math.ceil(len(loader) / accum)
    target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    done, last = 0, None
    for _ in range(limit(args, per_epoch, target) if limit else math.ceil(target / per_epoch)):
        batches = list(loader)
        for first in range(0, len(batches), accum):
            window = batches[first : first + accum]
            for batch in window:
                loss = model(**batch, num_items_in_batch=torch.tensor(1.0)).loss
                (loss * scale(batch, window, args, last)).backward()
            last = window
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == target:
                break
        if done == target and limit is None:
            break
    return {"global_step": done}


def token_mean(model, dataset, args):
    return _train(model, dataset, args, lambda _, window, *__: 1 / sum(map(labels_of, window)))


def missing(model, dataset, args):
    return _train(model, dataset, args, lambda batch, *_: 1 / labels_of(batch))


def mean_over_accum(model, dataset, args):
    return _train(
        model,
        dataset,
        args,
        lambda batch, _, args, __: 1 / (labels_of(batch) * args.gradient_accumulation_steps),
    )


def double(model, dataset, args):
    return _train(
        model,
        dataset,
        args,
        lambda _, window, args, __: 1 / (sum(map(labels_of, window)) * args.gradient_accumulation_steps),
    )


def padded(model, dataset, args):
    return _train(
        model, dataset, args, lambda _, window, *__: 1 / sum(item["labels"].numel() for item in window)
    )


def unshifted(model, dataset, args):
    return _train(
        model,
        dataset,
        args,
        lambda _, window, *__: 1 / sum(int((item["labels"] != -100).sum()) for item in window),
    )


def summed(model, dataset, args):
    return _train(model, dataset, args, lambda *_: 1.0)


def rows(model, dataset, args):
    return _train(
        model, dataset, args, lambda _, window, *__: 1 / sum(len(item["labels"]) for item in window)
    )


def short_windows_missing(model, dataset, args):
    """Divides a full window by its tokens and forgets to in a short one."""

    def scale(batch, window, args, _):
        full = len(window) == args.gradient_accumulation_steps
        return 1 / (sum(map(labels_of, window)) if full else labels_of(batch))

    return _train(model, dataset, args, scale)


def overruns(model, dataset, args):
    """Enters one epoch more than it needs and leaves the inner loop only."""
    return _train(
        model,
        dataset,
        args,
        lambda _, window, *__: 1 / sum(map(labels_of, window)),
        limit=lambda _, per_epoch, target: math.ceil(target / per_epoch) + 1,
    )
