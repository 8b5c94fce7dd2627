"""Loops of one's own that are right in every count, and wrong (all but the first) in what they compute."""

from __future__ import annotations

import itertools
import math

import torch
from torch.utils.data import DataLoader


def right(model, dataset, args):
    """Every label token of a window weighs the same; the control."""
    return _train(model, dataset, args)


def padded_tokens(model, dataset, args):
    """Divides by positions, padding included."""
    return _train(
        model, dataset, args, divisor=lambda window: sum(batch["labels"].numel() for batch in window)
    )


def mean_of_means(model, dataset, args):
    """Averages the means of the micro-batches."""

    def loss_of(output, batch, window, total):
        return output.loss / len(window)

    return _train(model, dataset, args, loss_of=loss_of)


def clip_before_unscaling(model, dataset, args):
    """Clips gradients that still carry the loss scale."""
    return _train(model, dataset, args, unscale=False)


def last_group_left_out(model, dataset, args):
    """Hands all parameters but the last group to the optimizer."""
    return _train(model, dataset, args, trained=lambda parameters: parameters[:-1])


def other_momenta(model, dataset, args):
    """Sets a beta that nobody asked for."""
    return _train(model, dataset, args, betas=(0.8, 0.999))


def decay_in_gradient(model, dataset, args):
    """Adds the parameters to the gradient, as L2 regularisation that nobody asked for."""

    def spoil(model):
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad += 0.01 * parameter.detach()

    return _train(model, dataset, args, spoil=spoil)


def never_zeroed(model, dataset, args):
    """Keeps the gradient of the window before."""
    return _train(model, dataset, args, zero=False)


def stale_rate(model, dataset, args):
    """Trains with the rate of the update after."""
    return _train(model, dataset, args, rate_offset=1)


def nan_at_the_end(model, dataset, args):
    """Ends with a parameter that is no number."""
    claims = _train(model, dataset, args)
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] = math.nan
    return claims


def scaled_gradients(model, dataset, args):
    """Right in another way: sums token losses, and divides the gradient by the window's tokens."""

    def loss_of(output, batch, window, total):
        return output.loss * _tokens([batch])

    def divide(model):
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= divide.total

    return _train(model, dataset, args, loss_of=loss_of, spoil=divide)


def suppressed_counted(model, dataset, args):
    """Counts attempts that the scaler suppressed, and advances the schedule on them."""
    return _train(model, dataset, args, counts_suppressed=True, init_scale=2.0**40)


def suppressed_not_counted(model, dataset, args):
    """Begins with a loss scale that overflows; right."""
    return _train(model, dataset, args, init_scale=2.0**40)


def _train(
    model,
    dataset,
    args,
    *,
    divisor=None,
    loss_of=None,
    unscale=True,
    trained=list,
    betas=(0.9, 0.999),
    spoil=None,
    zero=True,
    rate_offset=0,
    counts_suppressed=False,
    init_scale=2.0**16,
):
    total_of = divisor or _tokens
    loader = DataLoader(
        dataset,
        batch_size=args.per_device_train_batch_size,
        shuffle=args.shuffle,
        generator=torch.Generator().manual_seed(args.seed),
    )
    updates_an_epoch = math.ceil(len(loader) / args.gradient_accumulation_steps)
    target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * updates_an_epoch)
    parameters = trained([parameter for parameter in model.parameters() if parameter.requires_grad])
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, betas=betas, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: max(0.0, 1.0 - (done + rate_offset) / target)
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, enabled=args.fp16)
    dtype = torch.float16 if args.fp16 else torch.bfloat16
    limit = args.max_grad_norm
    model.train()
    done = 0
    while done < target:
        batches = iter(loader)
        while window := list(itertools.islice(batches, args.gradient_accumulation_steps)):
            total = total_of(window)
            if divide := getattr(spoil, "__name__", "") == "divide":
                spoil.total = total
            for batch in window:
                with torch.autocast("cpu", dtype, enabled=args.fp16 or args.bf16):
                    output = model(**batch)
                    loss = (
                        loss_of(output, batch, window, total)
                        if loss_of
                        else output.loss * (_tokens([batch]) / total)
                    )
                scaler.scale(loss).backward()
            if unscale:
                scaler.unscale_(optimizer)
            if spoil and divide:
                spoil(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            if spoil and not divide:
                spoil(model)
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            suppressed = scaler.get_scale() < before
            if not suppressed or counts_suppressed:
                schedule.step()
                done += 1
            if zero:
                optimizer.zero_grad()
                model.zero_grad()
            if done == target:
                break
    return {"global_step": done}


def _tokens(batches):
    return sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
