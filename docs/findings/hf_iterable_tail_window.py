"""transformers.Trainer, dataset without a length: the short last window of a pass spills into the next pass."""
import sys
import tempfile

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

windows, waiting = [], []

class Rows(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter({"x": torch.tensor([1.0])} for _ in range(5))  # 5 micro-batches of 1 row a pass

class Net(torch.nn.Linear):
    def forward(self, x):
        waiting.append(len(x))
        return {"loss": super().forward(x).mean()}

class Count(TrainerCallback):
    def on_optimizer_step(self, args, state, control, **kwargs):
        windows.append(len(waiting))
        waiting.clear()

args = TrainingArguments(tempfile.mkdtemp(), max_steps=6, per_device_train_batch_size=1, use_cpu=True,
                         gradient_accumulation_steps=2, save_strategy="no", report_to=[], disable_tqdm=True)
Trainer(Net(1, 1), args, train_dataset=Rows(), callbacks=[Count()]).train()
print("micro-batches of each update:", windows, "asked for: at most 2")
sys.exit(any(size > 2 for size in windows))
