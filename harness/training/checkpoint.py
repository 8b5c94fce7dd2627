"""Checkpoints that exist whole or not at all: safetensors for tensors, JSON for the rest, no pickle.

A checkpoint is written into a hidden directory, every file is flushed to disk, and one rename makes it
visible. Killed at any instant, a run leaves the older checkpoints untouched and nothing that could be taken
for a new one.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .randomness import RandomState

if TYPE_CHECKING:
    from pathlib import Path

    from .ranks import Ranks

FORMAT_VERSION: Final = 1
STATE_FILE: Final = "trainer_state.json"
_NAME: Final = re.compile(r"checkpoint-(\d+)")
_NOT_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The contents of one checkpoint.

    Attributes:
        model: Parameters and buffers by name.
        optimizer: The optimizer's tensors by ``index.key``.
        values: Everything that is no tensor, fit for JSON; numbers that are not finite are kept.
        random: This rank's random numbers.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    values: dict[str, Any]
    random: RandomState


def save_checkpoint(
    output_dir: Path, checkpoint: Checkpoint, *, global_step: int, ranks: Ranks, model_config: Any
) -> Path:
    """Write ``output_dir/checkpoint-<global_step>`` atomically.

    Args:
        output_dir: Made if it is not there.
        checkpoint: What to write. Rank 0 writes all but the other ranks' random numbers.
        global_step: Updates made.
        ranks: The processes of the run, on one file system.
        model_config: Has ``to_json_string`` if the model has a transformers config, then saved as
            ``config.json``.

    Returns:
        The checkpoint's path.
    """
    final = output_dir / f"checkpoint-{global_step}"
    hidden = output_dir / f".writing-checkpoint-{global_step}"
    if ranks.is_main:
        output_dir.mkdir(parents=True, exist_ok=True)
        _remove(hidden)
        hidden.mkdir()
        save_file(checkpoint.model, hidden / "model.safetensors", metadata={"format": "pt"})
        save_file(checkpoint.optimizer, hidden / "optimizer.safetensors")
        if hasattr(model_config, "to_json_string"):
            (hidden / "config.json").write_text(model_config.to_json_string(), encoding="utf-8")
    ranks.barrier()
    save_file(checkpoint.random.tensors, hidden / f"random-{ranks.rank}.safetensors")
    _write_json(hidden / f"random-{ranks.rank}.json", checkpoint.random.values)
    ranks.barrier()
    if ranks.is_main:
        sizes = {path.name: path.stat().st_size for path in sorted(hidden.iterdir())}
        _write_json(
            hidden / STATE_FILE,
            {"format_version": FORMAT_VERSION, "files": sizes, "ranks": ranks.count, **checkpoint.values},
        )
        for path in hidden.iterdir():
            _flush(path)
        _flush(hidden)
        _swap_in(hidden, final)
    ranks.barrier()
    return final


def load_checkpoint(path: Path, *, ranks: Ranks) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: Its directory.
        ranks: The processes of the run; as many as wrote it.

    Returns:
        Its contents, tensors on the CPU.

    Raises:
        ValueError: It is damaged, of another format, or written by another number of ranks.
        FileNotFoundError: There is none.
    """
    state_file = path / STATE_FILE
    if not state_file.is_file():
        raise FileNotFoundError(f"{path} is no checkpoint: it has no {STATE_FILE}")
    values = _read_json(state_file)
    if values.pop("format_version", None) != FORMAT_VERSION:
        raise ValueError(
            f"{path} was not written by this loop (no format_version {FORMAT_VERSION} in {STATE_FILE})"
        )
    for name, size in values.pop("files").items():
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found != size:
            raise ValueError(f"{path} is damaged: {name} should have {size} bytes, found {found}")
    writers = values.pop("ranks")
    if writers != ranks.count:
        raise ValueError(f"{path} was written by {writers} rank(s), this run has {ranks.count}")
    return Checkpoint(
        model=load_file(path / "model.safetensors"),
        optimizer=load_file(path / "optimizer.safetensors"),
        values=values,
        random=RandomState(
            tensors=load_file(path / f"random-{ranks.rank}.safetensors"),
            values=_read_json(path / f"random-{ranks.rank}.json"),
        ),
    )


def checkpoints(output_dir: Path) -> list[Path]:
    """The complete checkpoints of a directory, by updates made.

    Args:
        output_dir: May be missing.

    Returns:
        Their paths, the oldest first.
    """
    if not output_dir.is_dir():
        return []
    found = [(int(match[1]), path) for path in output_dir.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found) if (path / STATE_FILE).is_file()]


def recover(output_dir: Path) -> None:
    """Clear what a killed run left behind; a checkpoint it was about to replace is put back.

    Args:
        output_dir: May be missing.
    """
    if not output_dir.is_dir():
        return
    for path in sorted(output_dir.iterdir()):
        if path.name.startswith(".replaced-checkpoint-"):
            final = output_dir / path.name.removeprefix(".replaced-")
            if final.exists():
                _remove(path)
            else:
                path.rename(final)
        elif path.name.startswith((".writing-checkpoint-", ".removing-checkpoint-")):
            _remove(path)


def keep_newest(output_dir: Path, *, limit: int | None, newest: Path) -> None:
    """Remove the oldest checkpoints beyond ``limit``, never ``newest``.

    Args:
        output_dir: Where they are.
        limit: How many may stay, ``None`` for all.
        newest: The one just written.
    """
    if limit is None:
        return
    others = [path for path in checkpoints(output_dir) if path != newest]
    for path in others[: max(len(others) + 1 - limit, 0)]:
        doomed = path.with_name(f".removing-{path.name}")
        _remove(doomed)
        path.rename(doomed)
        _remove(doomed)


def optimizer_parts(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Part an optimizer's state into tensors and plain values.

    Args:
        optimizer: The optimizer.

    Returns:
        Tensors by ``index.key``, and ``{"param_groups": …, "state": …}`` with the rest.
    """
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value.detach().contiguous()
            else:
                plain.setdefault(str(index), {})[key] = value
    return tensors, {"param_groups": state["param_groups"], "state": plain}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]
) -> None:
    """Put an optimizer where ``optimizer_parts`` found it.

    Args:
        optimizer: A new optimizer over the same parameters.
        tensors: As returned by ``optimizer_parts``.
        plain: As returned by ``optimizer_parts``.
    """
    state: dict[int, dict[str, Any]] = {
        int(index): dict(entries) for index, entries in plain["state"].items()
    }
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    groups = []
    for saved, current in zip(plain["param_groups"], optimizer.param_groups, strict=True):
        groups.append(
            {
                key: tuple(value) if isinstance(current.get(key), tuple) else value
                for key, value in saved.items()
            }
        )
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _swap_in(hidden: Path, final: Path) -> None:
    replaced = final.with_name(f".replaced-{final.name}")
    if final.exists():
        _remove(replaced)
        final.rename(replaced)
    hidden.rename(final)
    _flush(final.parent)
    _remove(replaced)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(_spell(values), allow_nan=False, indent=1), encoding="utf-8")


def _read_json(path: Path) -> Any:
    return _unspell(json.loads(path.read_text(encoding="utf-8")))


def _spell(value: Any) -> Any:
    """Numbers that are not finite become words: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: _spell(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spell(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _unspell(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unspell(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_unspell(part) for part in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
