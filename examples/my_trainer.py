"""A fine-tuning loop of one's own. `stepaudit run --subject my_trainer.py:train` audits it."""

import math

from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader
from transformers import get_scheduler


def train(model, dataset, args):
    batch_size, accumulation = args.per_device_train_batch_size, args.gradient_accumulation_steps
    loader = DataLoader(dataset, batch_size, shuffle=args.shuffle, drop_last=args.dataloader_drop_last)
    per_epoch = math.ceil(len(loader) / accumulation)  # the last window of an epoch may be short
    target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    kind = SGD if args.optim == "sgd" else AdamW
    optimizer = kind(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    scheduler = get_scheduler(args.lr_scheduler_type, optimizer, args.warmup_steps, target)
    updates, epoch, log, window = 0, 0.0, [], []
    for passes in range(math.ceil(target / per_epoch)):
        for done, batch in enumerate(loader, start=1):
            window.append(batch)
            if len(window) < accumulation and done < len(loader):
                continue
            label_tokens = sum((batch["labels"][:, 1:] != -100).sum() for batch in window)
            loss = 0.0
            for batch in window:
                part = model(**batch, num_items_in_batch=label_tokens).loss
                part.backward()
                loss += part.item()
            norm = clip_grad_norm_(model.parameters(), args.max_grad_norm or math.inf)
            rate = scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            updates, epoch, window = updates + 1, passes + done / len(loader), []
            if args.logging_steps and updates % args.logging_steps == 0:
                entry = {"step": updates, "epoch": epoch, "loss": loss, "learning_rate": rate}
                log.append(entry | {"grad_norm": float(norm)})
            if updates == target:
                break
    return {"global_step": updates, "epoch": epoch, "log_history": log}
