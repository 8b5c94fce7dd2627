"""A loop on several ranks. `stepaudit run --subject my_ddp_trainer.py:train --axis ranks=1,2` audits it."""

import math
import os

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader, DistributedSampler
from transformers import get_scheduler


def train(model, dataset, args):
    ranks = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun's variables; one process has none
    if ranks > 1:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(model)  # averages gradients over the ranks
    rank, drop_last = int(os.environ.get("RANK", "0")), args.dataloader_drop_last
    sampler = DistributedSampler(
        dataset, ranks, rank, shuffle=args.shuffle, seed=args.seed, drop_last=drop_last
    )
    loader = DataLoader(dataset, args.per_device_train_batch_size, sampler=sampler, drop_last=drop_last)
    accumulation = args.gradient_accumulation_steps
    per_epoch = math.ceil(len(loader) / accumulation)
    target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    kind = SGD if args.optim == "sgd" else AdamW
    optimizer = kind(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    scheduler = get_scheduler(args.lr_scheduler_type, optimizer, args.warmup_steps, target)
    updates, window = 0, []
    for passes in range(math.ceil(target / per_epoch)):
        sampler.set_epoch(passes)
        for done, batch in enumerate(loader, start=1):
            window.append(batch)
            if len(window) < accumulation and done < len(loader):
                continue
            label_tokens = sum((item["labels"][:, 1:] != -100).sum() for item in window)
            if ranks > 1:
                dist.all_reduce(label_tokens)  # of the window on all ranks
            for micro_batch in window:
                loss = model(**micro_batch, num_items_in_batch=label_tokens).loss
                (loss * ranks).backward()  # which the average takes back
            clip_grad_norm_(model.parameters(), args.max_grad_norm or math.inf)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            updates, window = updates + 1, []
            if updates == target:
                break
    if ranks > 1:
        dist.destroy_process_group()
    return {"global_step": updates}
