"""Changes to a model that last only as long as they are needed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ...kernels import active_backend, use_backend
from .fusion import Fusion, fuse, unfuse
from .losses import innermost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from .config import TrainingConfig


@contextlib.contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a model into training or evaluation mode, then give every module its own mode back.

    Args:
        model: The model.
        training: Which mode.

    Yields:
        Nothing.
    """
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before:
            module.training = was_training


@contextlib.contextmanager
def fused(model: nn.Module, config: TrainingConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """Run with the kernels that the settings ask for.

    Args:
        model: The model; it leaves as it came, fused or not.
        config: The settings.

    Yields:
        The kernels in use and what runs them (``none`` if none).
    """
    chosen = None if config.kernel_backend in {"auto", "none"} else config.kernel_backend
    with use_backend(chosen) if chosen is not None else contextlib.nullcontext():
        if config.kernel_backend == "none":
            yield (), "none"
            return
        fusion: Fusion = fuse(model)
        try:
            backend = active_backend(next(model.parameters()).device).value if fusion.names else "none"
            yield fusion.names, backend
        finally:
            unfuse(model)


@contextlib.contextmanager
def recomputation(model: nn.Module, config: TrainingConfig) -> Iterator[None]:
    """Turn gradient checkpointing on if the settings ask for it.

    Args:
        model: The model; it leaves as it came.
        config: The settings.

    Yields:
        Nothing.

    Raises:
        ValueError: The model cannot do it.
    """
    on_already = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    if not config.gradient_checkpointing or on_already:
        yield
        return
    inner: Any = innermost(model)
    # transformers 5.23 renamed it and warns at the old name
    for word in ("activation", "gradient"):
        if hasattr(inner, f"{word}_checkpointing_enable"):
            hooked = "_require_grads_hook" in vars(inner)
            enable = getattr(inner, f"{word}_checkpointing_enable")
            enable(**{f"{word}_checkpointing_kwargs": {"use_reentrant": False}})
            try:
                yield
            finally:
                getattr(inner, f"{word}_checkpointing_disable")()
                if not hooked and "_require_grads_hook" in vars(inner):
                    inner.disable_input_require_grads()  # switching on hooked the embeddings, off leaves the hook
            return
    raise ValueError(f"gradient_checkpointing=True, but {type(inner).__name__} does not support it")
