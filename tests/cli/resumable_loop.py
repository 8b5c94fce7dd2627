"""A loop of one's own that can be resumed: it goes on from `args.resume_from_checkpoint`."""

import math
from pathlib import Path

import torch
from torch.utils.data import DataLoader


def train(model, dataset, args):
    generator = torch.Generator().manual_seed(args.seed)
    loader = DataLoader(
        dataset,
        args.per_device_train_batch_size,
        shuffle=args.shuffle,
        drop_last=args.dataloader_drop_last,
        generator=generator,
    )
    accumulation = args.gradient_accumulation_steps
    per_epoch = math.ceil(len(loader) / accumulation)
    target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: max(0.0, 1 - done / target))
    updates, passes, skip, log = 0, 0, 0, []
    if args.resume_from_checkpoint:
        state = torch.load(f"{args.resume_from_checkpoint}/loop.pt", weights_only=False)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["order"])
        updates, passes, skip, log = state["updates"], state["passes"], state["done"], state["log"]
    while updates < target:
        order, window = generator.get_state(), []
        for done, batch in enumerate(loader, start=1):
            if done <= skip:
                continue
            window.append(batch)
            if len(window) < accumulation and done < len(loader):
                continue
            label_tokens = sum((item["labels"][:, 1:] != -100).sum() for item in window)
            loss = 0.0
            for micro_batch in window:
                part = model(**micro_batch, num_items_in_batch=label_tokens).loss
                part.backward()
                loss += part.item()
            rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            updates, window = updates + 1, []
            log.append(
                {"step": updates, "epoch": passes + done / len(loader), "loss": loss, "learning_rate": rate}
            )
            if args.save_strategy == "steps" and updates % args.save_steps == 0:
                path = Path(args.output_dir) / f"checkpoint-{updates}"
                path.mkdir(parents=True)
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "order": order,
                    "schedule": schedule.state_dict(),
                    "updates": updates,
                    "passes": passes,
                    "done": done,
                    "log": log,
                }
                torch.save(state, path / "loop.pt")
            if updates == target:
                break
        passes, skip = passes + 1, 0
    return {"global_step": updates, "log_history": log}
