"""lightning.Fabric: the loop of the page "Efficient Gradient Accumulation" updates after one micro-batch, not eight."""
import sys

import torch
from lightning.fabric import Fabric

fabric = Fabric(accelerator="cpu", devices=1)
net = torch.nn.Linear(1, 1)
model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
dataloader = fabric.setup_dataloaders(torch.utils.data.DataLoader(torch.ones(24, 1)))
windows, waiting = [], 0

for iteration, batch in enumerate(dataloader):
    is_accumulating = iteration % 8 != 0  # the documented condition
    with fabric.no_backward_sync(model, enabled=is_accumulating):
        fabric.backward(model(batch).mean() / 8)
    waiting += 1
    if not is_accumulating:
        optimizer.step()
        optimizer.zero_grad()
        windows.append(waiting)
        waiting = 0

print("micro-batches of each update:", windows, "never stepped:", waiting, "asked for: 8, 8, 8")
sys.exit(windows != [8, 8, 8])
