"""transformers.Trainer, max_steps=0: one update at learning rate 0, where two epochs were asked for."""
import sys
import tempfile

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

rates = []

class Net(torch.nn.Linear):
    def forward(self, x):
        return {"loss": super().forward(x).mean()}

class Rates(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        rates.append(optimizer.param_groups[0]["lr"])

rows = [{"x": torch.tensor([1.0])} for _ in range(8)]
args = TrainingArguments(tempfile.mkdtemp(), max_steps=0, num_train_epochs=2, per_device_train_batch_size=2,
                         learning_rate=0.1, use_cpu=True, save_strategy="no", report_to=[], disable_tqdm=True)
trainer = Trainer(Net(1, 1), args, train_dataset=rows, callbacks=[Rates()])
trainer.train()
print("updates:", len(rates), "rates:", rates, "planned:", trainer.state.max_steps)
print("2 epochs of 4 micro-batches are 8 updates; 0 is no positive number that would override them")
sys.exit(len(rates) != 8)
