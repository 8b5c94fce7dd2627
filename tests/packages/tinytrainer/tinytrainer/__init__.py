"""A fine-tuning loop as a team would have one."""

import math

from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

__all__ = ["train"]


def train(model, dataset, args):
    """Train `model` on `dataset` as `args` says; return what was done."""
    loader = DataLoader(dataset, args.per_device_train_batch_size, shuffle=args.shuffle)
    updates_per_epoch = math.ceil(len(loader) / args.gradient_accumulation_steps)
    total = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * updates_per_epoch)
    optimizer = SGD(model.parameters(), lr=args.learning_rate)
    is_constant = args.lr_scheduler_type == "constant"
    schedule = LambdaLR(optimizer, lambda done: 1.0 if is_constant else max(0.0, 1 - done / total))
    updates = 0
    while updates < total:
        for window in windows(loader, args.gradient_accumulation_steps):
            tokens = sum((batch["labels"][:, 1:] != -100).sum() for batch in window)
            for batch in window:
                model(**batch, num_items_in_batch=tokens).loss.backward()
            clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            updates += 1
            if updates == total:
                break
    return {"global_step": updates, "epoch": updates / updates_per_epoch}


def windows(loader, size):
    """Give the batches of an epoch in lists of `size`; the last one may be shorter."""
    window = []
    for batch in loader:
        window.append(batch)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
