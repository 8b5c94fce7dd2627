"""transformers.Trainer, dataset without a length: dataloader_drop_last=True drops nothing."""
import sys
import tempfile

import torch
from transformers import Trainer, TrainingArguments

sizes = []

class Rows(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter({"x": torch.tensor([1.0])} for _ in range(5))  # batches of 2, 2 and an incomplete one

class Net(torch.nn.Linear):
    def forward(self, x):
        sizes.append(len(x))
        return {"loss": super().forward(x).mean()}

args = TrainingArguments(tempfile.mkdtemp(), max_steps=4, per_device_train_batch_size=2, dataloader_drop_last=True,
                         use_cpu=True, save_strategy="no", report_to=[], disable_tqdm=True)
Trainer(Net(1, 1), args, train_dataset=Rows()).train()
print("rows of each micro-batch:", sizes, "asked for: 2, the incomplete one dropped")
sys.exit(1 in sizes)
