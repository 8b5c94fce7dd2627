"""lightning.Trainer: under accumulate_grad_batches a scheduler's `frequency` counts micro-batches, not steps."""
import sys

import torch
from lightning.pytorch import LightningModule, Trainer

rates = []

class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.net(batch).mean()

    def on_before_optimizer_step(self, optimizer):
        rates.append(optimizer.param_groups[0]["lr"])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        halving = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": halving, "interval": "step", "frequency": 2}}

quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = Trainer(max_steps=6, accumulate_grad_batches=2, accelerator="cpu", **quiet)
trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(12, 1)))
print("rate of each step:", rates, "with frequency 2 every rate should be used twice")
sys.exit(rates != [1.0, 1.0, 0.5, 0.5, 0.25, 0.25])
