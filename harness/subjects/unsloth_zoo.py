"""Subject `unsloth-zoo@VERSION`: `unsloth_zoo.training_utils.unsloth_train` from the unmodified wheel, on CPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...scenarios import DatasetKind, LossProtocol, Scenario
from ..ledger import Claims
from .environment import Environment
from .subject import Bench, SubjectError, common_limits, schedule_limits

__all__ = ["UnslothZoo"]

_NEEDS = ("datasets==5.2.0", "dill==0.4.1", "multiprocess==0.70.19", "xxhash==4.1.0")
"""what releases of 2025 and later import besides the base environment"""


class UnslothZoo:
    """Unsloth's own accumulation loop; it takes a constructed Trainer and trains `trainer.model`.

    It hands its divisor to the model as `n_items`, which Unsloth's patched models read and stock models ignore. Here
    a forward pre-hook renames it, so that the loss has Unsloth's true scale.
    """

    contract = "hf-5"
    packages = ("torch", "transformers", "accelerate", "unsloth_zoo")
    imports = (
        "transformers.trainer",
        "stepaudit.harness.subjects.hf_arguments",
        "unsloth_zoo.training_utils",
    )
    own_process = True
    fingerprint = ""
    prints_claims = True

    def __init__(self, version: str) -> None:
        if not re.fullmatch(r"\d{4}\.\d+\.\d+", version):
            raise SubjectError(f"unsloth-zoo wants a release like 2026.10.5, not {version!r}")
        self.name = f"unsloth-zoo@{version}"
        self.environment: Environment | None = Environment(
            name=f"unsloth-zoo-{version}",
            requirements=(f"unsloth_zoo=={version}", *(() if version.startswith("2024.") else _NEEDS)),
            variables={"UNSLOTH_ZOO_DISABLE_GPU_INIT": "1"},
        )

    def supports(self, scenario: Scenario) -> str | None:
        """What the loop itself can be asked for."""
        if scenario.dataset is DatasetKind.ITERABLE:
            return "dataset iterable: unsloth_train uses a RandomSampler over the dataset"
        if not scenario.shuffle:
            return "shuffle off: unsloth_train always uses a RandomSampler"
        if scenario.drop_last and scenario.rows < scenario.per_device_batch_size:
            return "drop_last leaves no micro-batch"
        if scenario.eval_steps or scenario.save_steps:
            return "unsloth_train calls no callback: it neither evaluates nor saves"
        protocols = (LossProtocol.HONOURED, LossProtocol.IGNORED)
        return common_limits(scenario, protocols=protocols) or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Hand a constructed Trainer to `unsloth_train`; what it claims it prints, and the caller reads that."""
        from transformers import Trainer, default_data_collator
        from unsloth_zoo.training_utils import unsloth_train

        from .hf_arguments import training_arguments

        trainer = Trainer(
            model=bench.model,
            args=training_arguments(bench.scenario, bench.output_dir, lr_scheduler_kwargs={}),
            train_dataset=bench.train_dataset,
            data_collator=default_data_collator,
        )
        rename = bench.model.register_forward_pre_hook(_rename_divisor, with_kwargs=True)
        try:
            with _cuda_is_cpu():
                unsloth_train(trainer)
        finally:
            rename.remove()
        return Claims()


def _rename_divisor(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Hand Unsloth's `n_items` to the model under the name that it honours."""
    del module
    if "n_items" in kwargs:
        kwargs["num_items_in_batch"] = kwargs.pop("n_items")
    return args, kwargs


@contextmanager
def _cuda_is_cpu() -> Iterator[None]:
    """Map the hard-coded `cuda:0` of releases up to 2026.10.5 to the CPU, and pinning to nothing."""
    import torch
    from torch.overrides import TorchFunctionMode

    class CudaIsCpu(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if func is torch.Tensor.pin_memory:
                return args[0]
            if "device" in kwargs and _is_cuda(kwargs["device"]):
                kwargs["device"] = torch.device("cpu")
            return func(*(torch.device("cpu") if _is_cuda(arg) else arg for arg in args), **kwargs)

    def _is_cuda(value: Any) -> bool:
        return (isinstance(value, str) and value.startswith("cuda")) or (
            isinstance(value, torch.device) and value.type == "cuda"
        )

    with CudaIsCpu():
        yield
