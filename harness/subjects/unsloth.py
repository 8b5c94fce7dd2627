"""Subjects `unsloth`, `unsloth-lora`: Unsloth's CPU backend, `FastLanguageModel` and the SFTTrainer that it patches."""

from __future__ import annotations

from typing import Any

from ...scenarios import LossProtocol, ModelKind, Precision, Scenario
from .overlay import overlay
from .subject import Bench
from .trl_sft import TrlSft, byte_tokenizer

__all__ = ["Unsloth"]

_RELEASE = (
    "unsloth==2026.10.9",
    "unsloth_zoo==2026.10.9",
    "transformers==5.17.0",
    "trl==1.15.0",
    "datasets==4.8.4",
    "huggingface_hub==1.33.0",
)
_NEEDS = (
    "anyio==4.16.0",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "dill==0.4.0",
    "h11==0.16.0",
    "httpcore==1.0.9",
    "httpx==0.28.1",
    "idna==3.20",
    "multiprocess==0.70.18",
    "requests==2.34.2",
    "sniffio==1.3.1",
    "urllib3==2.8.0",
    "xxhash==4.1.0",
)
"""the release, in the newest company that its metadata allow, and what that imports besides the base environment"""


class Unsloth(TrlSft):
    """Full fine-tuning, or LoRA: Unsloth loads and wraps the model; its SFTTrainer computes the loss in chunks."""

    packages = ("torch", "transformers", "accelerate", "trl", "datasets", "unsloth", "unsloth-zoo")
    imports = ("unsloth", "transformers.trainer", "trl", "stepaudit.harness.subjects.hf_arguments")
    own_process = True

    def __init__(self, *, lora: bool = False) -> None:
        super().__init__()
        self.name = "unsloth-lora" if lora else "unsloth"
        self.model = ModelKind.TINY_LLAMA_LORA if lora else ModelKind.TINY_LLAMA
        self.environment = overlay("unsloth", *_RELEASE, *_NEEDS)

    def supports(self, scenario: Scenario) -> str | None:
        """What TRL's trainer supports, of a model that Unsloth can load."""
        if scenario.model not in {ModelKind.TRACER, self.model}:
            return f"model {scenario.model.value}: {self.name} trains {self.model.value}"
        if scenario.loss_protocol not in {LossProtocol.HONOURED, LossProtocol.OVERRIDDEN}:
            return f"loss protocol {scenario.loss_protocol.value}: Unsloth loads the model, with Llama's own forward"
        if scenario.precision is Precision.FP16:
            return "precision fp16: Unsloth trains in bf16 instead, where the CPU has it"
        return super().supports(scenario)

    def _model(self, bench: Bench) -> Any:
        """Load a Llama of this shape as Unsloth's documentation shows it, and give it the bench's parameters."""
        import torch
        from transformers import AutoModelForCausalLM
        from unsloth import FastLanguageModel

        model = bench.model
        source = bench.output_dir / "unsloth-model"
        if not source.is_dir():
            AutoModelForCausalLM.from_config(model.config).save_pretrained(source)
            byte_tokenizer().save_pretrained(source)
        loaded, _ = FastLanguageModel.from_pretrained(
            str(source),
            max_seq_length=model.config.max_position_embeddings,
            dtype=torch.float32,
            load_in_4bit=False,
            full_finetuning=self.model is ModelKind.TINY_LLAMA,
        )
        if self.model is ModelKind.TINY_LLAMA_LORA:
            loaded = FastLanguageModel.get_peft_model(
                loaded,
                r=model.peft_config["default"].r,
                lora_alpha=model.peft_config["default"].lora_alpha,
                lora_dropout=0,
                target_modules=sorted(model.peft_config["default"].target_modules),
            )
        loaded.load_state_dict(model.state_dict())
        bench.adopt_model(loaded)
        return loaded
