"""transformers.Trainer, 2 ranks: a compute_loss that divides by the count it is given has half the gradient."""
import os
import tempfile

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

folder, seen = tempfile.mkdtemp(), torch.zeros(2).share_memory_()  # the gradient on 1 rank and on 2

class Net(torch.nn.Linear):
    def forward(self, x, labels=None, **kwargs):
        return super().forward(x)  # the derivative of its mean by the weight is 1, whatever the batch
class Own(Trainer):
    loss_is_scaled_for_ga = True  # "if you already normalized it over the whole accumulated batch"
    def compute_loss(self, model, inputs, num_items_in_batch=None, **kwargs):
        return model(**inputs).sum() / num_items_in_batch
class Gradient(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        seen[args.world_size - 1] = model.weight.grad.item()

def train(rank, ranks):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    torch.distributed.init_process_group("gloo", f"file://{folder}/{ranks}", rank=rank, world_size=ranks)
    args = TrainingArguments(folder, max_steps=1, per_device_train_batch_size=8 // ranks, max_grad_norm=0, use_cpu=True,
                             save_strategy="no", report_to=[], disable_tqdm=True, ddp_find_unused_parameters=False)
    Own(Net(1, 1), args, train_dataset=[{"x": torch.ones(1), "labels": 1}] * 8, callbacks=[Gradient()]).train()
for ranks in (1, 2):
    torch.multiprocessing.start_processes(train, (ranks,), ranks, start_method="fork")
print("the same 8 rows on 1 rank and on 2: gradient", seen.tolist())
raise SystemExit(seen.tolist() != [1.0, 1.0])
