"""transformers.Trainer, LlamaForSequenceClassification: gradients grow with the ranks and with the accumulation."""
import os
import tempfile

import torch
import transformers
from transformers import Trainer, TrainerCallback, TrainingArguments

folder, seen = tempfile.mkdtemp(), torch.zeros(4).share_memory_()  # norm of the gradient, by ranks times accumulation

class Gradient(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        seen[args.gradient_accumulation_steps * args.world_size - 1] = model.score.weight.grad.norm()

def train(rank, ranks, times):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    torch.distributed.init_process_group("gloo", f"file://{folder}/{ranks}{times}", rank=rank, world_size=ranks)
    args = TrainingArguments(folder, max_steps=1, per_device_train_batch_size=8 // (ranks * times),
                             gradient_accumulation_steps=times, max_grad_norm=0, use_cpu=True,
                             save_strategy="no", report_to=[], disable_tqdm=True, ddp_find_unused_parameters=False)
    torch.manual_seed(0)
    model = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, pad_token_id=0))
    Trainer(model, args, train_dataset=[{"input_ids": [5, 6, 7], "labels": 1}] * 8, callbacks=[Gradient()]).train()

for ranks, times in ((1, 1), (2, 1), (2, 2)):
    torch.multiprocessing.start_processes(train, (ranks, times), ranks, start_method="fork")
found = (seen[[0, 1, 3]] / seen[0]).tolist()
print("the same 8 rows on 1 rank, on 2, on 2 with accumulation 2: gradient of the first, times", found)
raise SystemExit(max(found) > 1.01)
