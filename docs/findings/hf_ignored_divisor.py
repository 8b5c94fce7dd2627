"""transformers.Trainer, a model that takes **kwargs and returns a mean loss: gradients grow with the accumulation."""
import sys
import tempfile

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments


class Net(torch.nn.Linear):
    def forward(self, x, labels=None, **kwargs):
        return {"loss": super().forward(x).mean()}  # the derivative by the weight is 1, whatever the batch

class Gradient(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.value = model.weight.grad.item()

def gradient(accumulation):
    args = TrainingArguments(tempfile.mkdtemp(), max_steps=1, per_device_train_batch_size=8 // accumulation,
                             gradient_accumulation_steps=accumulation, max_grad_norm=0, use_cpu=True,
                             save_strategy="no", report_to=[], disable_tqdm=True)
    rows = [{"x": torch.tensor([1.0]), "labels": torch.tensor([1])} for _ in range(8)]
    Trainer(Net(1, 1), args, train_dataset=rows, callbacks=[seen := Gradient()]).train()
    return seen.value

print("the same 8 rows, accumulation 1, 2, 4: gradient", found := [gradient(times) for times in (1, 2, 4)])
sys.exit(found != [1.0, 1.0, 1.0])
