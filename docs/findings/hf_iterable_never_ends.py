"""transformers.Trainer, a dataset without a length that is shorter than the accumulation: no update, and no end."""
import sys
import tempfile

import torch
from transformers import Trainer, TrainingArguments


class Rows(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter({"x": torch.tensor([1.0])} for _ in range(3))  # 3 micro-batches of 1 row a pass

class Net(torch.nn.Linear):
    forwards = 0

    def forward(self, x):
        self.forwards += 1
        if self.forwards > 3000:  # 1,000 passes; two updates need 2
            print("after", self.forwards - 1, "micro-batches:", trainer.state.global_step, "updates of the 2 asked for")
            sys.exit(1)
        return {"loss": super().forward(x).mean()}

args = TrainingArguments(tempfile.mkdtemp(), max_steps=2, per_device_train_batch_size=1, use_cpu=True,
                         gradient_accumulation_steps=4, save_strategy="no", report_to=[], disable_tqdm=True)
trainer = Trainer(Net(1, 1), args, train_dataset=Rows())
trainer.train()
print("it ended after", trainer.state.global_step, "updates")
