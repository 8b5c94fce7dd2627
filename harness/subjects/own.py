"""Subjects of one's own: `my_trainer.py:train` or `package.module:train`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import operator
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...scenarios import DatasetKind, LossProtocol, Precision, Scenario, nearest
from ..ledger import Claims, LogEntry
from .environment import Environment
from .subject import Bench, SubjectError, common_limits

__all__ = ["FunctionLoop", "LoopArguments", "OwnLoop", "loop_arguments"]


_UNASKED = 500
"""`TrainingArguments`' default cadence, where the strategy is `no`: a loop may divide by it"""


class LoopArguments:
    """What the loop is asked for, by `TrainingArguments` names; remembers which names were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            value = self._values[name]
        except KeyError:
            raise AttributeError(f"args has no {name!r}{nearest(name, self._values)}") from None
        self._read.add(name)
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return all arguments; they count as read."""
        self._read.update(self._values)
        return dict(self._values)

    def unread(self) -> tuple[str, ...]:
        """Return the names that nobody looked at."""
        return tuple(name for name in self._values if name not in self._read)


class OwnLoop:
    """A function `train(model, dataset, args)` that returns what it claims, or None.

    The model returns `.loss` and honours `num_items_in_batch`; rows can be stacked by `default_collate`.
    """

    contract = "token-mean"
    packages = ("torch",)
    environment: Environment | None = None
    own_process = False
    prints_claims = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._target, _, self._function = name.rpartition(":")
        self.imports: tuple[str, ...] = ("torch",)
        self.fingerprint = hashlib.sha256(_source(self._target, name)).hexdigest()[:16]

    def supports(self, scenario: Scenario) -> str | None:
        """Sized data, a model that honours the divisor; on several ranks the loop joins the others by itself."""
        if scenario.dataset is DatasetKind.ITERABLE:
            return "dataset iterable: a loop of one's own is handed sized datasets"
        if scenario.drop_last and scenario.rows < scenario.per_device_batch_size * scenario.ranks:
            return "drop_last leaves no micro-batch: what a loop should do then is its own affair"
        return common_limits(
            scenario,
            protocols=(LossProtocol.HONOURED,),
            precisions=tuple(Precision),
            contract=self.contract,
            on_ranks=True,
        )

    def train(self, bench: Bench) -> Claims:
        """Call the function and read what it returns."""
        function = self.load()
        newest = max(_checkpoints(bench.output_dir) or (), default=None) if bench.resume else None
        args = loop_arguments(bench.scenario, bench.output_dir, newest)
        claimed = function(bench.model, bench.train_dataset, args)
        claims = _claims(claimed, args, _checkpoints(bench.output_dir))
        if newest is not None and claims.log and (claims.log[0].global_step or 0) > newest:
            # What it returned before the interruption is lost; a log that begins after it is not a log of the run.
            claims = replace(claims, log=None)
        return claims

    def load(self) -> Callable[..., Any]:
        """Import the function.

        Raises:
            SubjectError: the module fails to import, or has no such function.
        """
        module = _load_module(self._target, self.name)
        function = getattr(module, self._function, None)
        if not callable(function):
            functions = [
                name for name, value in vars(module).items() if callable(value) and not name.startswith("_")
            ]
            near = nearest(self._function, functions) if functions else ""
            raise SubjectError(
                f"subject {self.name!r}: {self._target} has no function {self._function!r}{near}"
            )
        loop: Callable[..., Any] = function
        return loop


class FunctionLoop(OwnLoop):
    """A loop of one's own that is at hand as a function, in the process that audits it.

    Args:
        function: `train(model, dataset, args)`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise SubjectError(f"a subject is a function train(model, dataset, args), not {function!r:.80}")
        name = getattr(function, "__qualname__", type(function).__qualname__)
        self.name = f"{getattr(function, '__module__', '?')}:{name}"
        self.imports = ()
        self._given = function
        try:
            source = inspect.getsource(function)
        except (OSError, TypeError):
            source = repr(function)
        self.fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]

    def load(self) -> Callable[..., Any]:
        """Return the function."""
        return self._given


def _source(target: str, name: str) -> bytes:
    """Return the bytes that identify the loop: the file's, or those of the module's file."""
    if target.endswith(".py"):
        try:
            return Path(target).read_bytes()
        except OSError as error:
            near = nearest(
                target, sorted(str(path) for path in Path(target).parent.glob("*.py")) or ["(no .py file)"]
            )
            raise SubjectError(f"subject {name!r}: cannot read {target}: {error.strerror}{near}") from None
    with _working_directory_on_path():
        try:
            spec = importlib.util.find_spec(target)
        except (ImportError, ValueError, AttributeError) as error:
            raise SubjectError(f"subject {name!r}: cannot find module {target!r}: {error}") from None
    if spec is None or spec.origin is None:
        raise SubjectError(
            f"subject {name!r}: there is no module {target!r}; a file is written path/to/file.py:function"
        )
    return Path(spec.origin).read_bytes()


def _load_module(target: str, name: str) -> Any:
    try:
        if not target.endswith(".py"):
            with _working_directory_on_path():
                return importlib.import_module(target)
        path = Path(target).resolve()
        key = f"stepaudit_subject_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
        if key in sys.modules:
            return sys.modules[key]
        spec = importlib.util.spec_from_file_location(key, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        sys.path.insert(0, str(path.parent))  # what `python my_trainer.py` would have
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[key]
            raise
        finally:
            sys.path.remove(str(path.parent))
    except Exception as error:
        raise SubjectError(
            f"subject {name!r}: {target} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


class _working_directory_on_path:  # noqa: N801  reads as a verb at its call
    """The working directory at the end of the path, so that a package in it is found and shadows nothing."""

    def __enter__(self) -> None:
        self._added = str(Path.cwd())
        sys.path.append(self._added)

    def __exit__(self, *exc: object) -> None:
        sys.path.remove(self._added)


def loop_arguments(scenario: Scenario, output_dir: Path, resume_at: int | None = None) -> LoopArguments:
    """Return the scenario by the names of `TrainingArguments`; to resume, with the path of `checkpoint-{resume_at}`."""

    def strategy(every: int) -> str:
        return "steps" if every else "no"

    return LoopArguments(
        {
            "output_dir": os.fspath(output_dir),
            "resume_from_checkpoint": (
                None if resume_at is None else os.fspath(output_dir / f"checkpoint-{resume_at}")
            ),
            "max_steps": -1 if scenario.max_steps is None else scenario.max_steps,
            "num_train_epochs": int(scenario.epochs) if scenario.epochs.is_integer() else scenario.epochs,
            "per_device_train_batch_size": scenario.per_device_batch_size,
            "gradient_accumulation_steps": scenario.grad_accum,
            "dataloader_drop_last": scenario.drop_last,
            "learning_rate": scenario.learning_rate,
            "weight_decay": 0.0,
            "adam_beta1": 0.9,
            "adam_beta2": 0.999,
            "adam_epsilon": 1e-8,
            "optim": scenario.optimizer.value,
            "lr_scheduler_type": scenario.lr_schedule.value,
            "warmup_steps": scenario.warmup_steps,
            "max_grad_norm": scenario.max_grad_norm,
            "logging_strategy": strategy(scenario.logging_steps),
            "logging_steps": scenario.logging_steps or _UNASKED,
            "save_strategy": strategy(scenario.save_steps),
            "save_steps": scenario.save_steps or _UNASKED,
            "eval_strategy": strategy(scenario.eval_steps),
            "eval_steps": scenario.eval_steps or _UNASKED,
            "dataloader_num_workers": 0,
            "seed": scenario.seed,
            "data_seed": scenario.seed,
            "shuffle": scenario.shuffle,
            "bf16": scenario.precision is Precision.BF16,
            "fp16": scenario.precision is Precision.FP16,
        }
    )


def _checkpoints(output_dir: Path) -> tuple[int, ...] | None:
    """Return the `checkpoint-N` directories that the loop wrote, or None where it wrote none."""
    numbers = [path.name.removeprefix("checkpoint-") for path in output_dir.glob("checkpoint-*")]
    return tuple(sorted(int(number) for number in numbers if number.isdecimal())) or None


def _claims(claimed: Any, args: LoopArguments, saved: tuple[int, ...] | None) -> Claims:
    if claimed is None:
        return Claims(saved_at=saved, unread=args.unread())
    if not isinstance(claimed, Mapping):
        raise SubjectError(
            f"train() returns a table of claims or None, not {type(claimed).__name__}: {claimed!r:.80}"
        )
    known = ("global_step", "epoch", "log_history", "planned_steps", "num_input_tokens_seen")
    for name in claimed:
        if name not in known:
            # Into the cell's output, where whoever misses the claim will look.
            print(f"stepaudit: no rule knows the claim {name!r}{nearest(name, known)}")  # noqa: T201
    history = claimed.get("log_history")
    if history is not None and (isinstance(history, (str, Mapping)) or not isinstance(history, Iterable)):
        raise SubjectError(f"claimed log_history must be a list of tables, not {history!r:.80}")
    planned = _whole("planned_steps", claimed.get("planned_steps"))
    return Claims(
        global_step=_whole("global_step", claimed.get("global_step")),
        epoch=_real("epoch", claimed.get("epoch")),
        planned_steps=None if planned is None else {"return value": planned},
        log=None if history is None else tuple(_entry(entry) for entry in history),
        saved_at=saved,
        input_tokens=_whole("num_input_tokens_seen", claimed.get("num_input_tokens_seen")),
        unread=args.unread(),
    )


def _entry(entry: Any) -> LogEntry:
    if not isinstance(entry, Mapping):
        raise SubjectError(f"an entry of log_history is a table, not {type(entry).__name__}: {entry!r:.80}")
    claimed = entry.get("step", entry.get("global_step"))
    return LogEntry(
        global_step=_whole("step", claimed),
        epoch=_real("epoch", entry.get("epoch")),
        loss=_real("loss", entry.get("loss")),
        learning_rate=_real("learning_rate", entry.get("learning_rate")),
        grad_norm=_real("grad_norm", entry.get("grad_norm")),
        input_tokens=_whole("num_input_tokens_seen", entry.get("num_input_tokens_seen")),
    )


def _whole(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool) or int(value) != value:
            raise ValueError  # noqa: TRY301  the same answer as to what int() refuses
    except (TypeError, ValueError, OverflowError):
        raise SubjectError(f"claimed {name} must be a whole number, not {value!r:.80}") from None
    return int(value)


def _real(name: str, value: Any) -> float | None:
    """Return a claimed number as Python's own: an integer epoch stays an integer, a tensor becomes a float."""
    if value is None:
        return None
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError  # noqa: TRY301  the same answer as to what float() refuses
        is_tensor = hasattr(value, "is_floating_point")
        return operator.index(value) if hasattr(value, "__index__") and not is_tensor else float(value)
    except (TypeError, ValueError, OverflowError):
        raise SubjectError(f"claimed {name} must be a number, not {value!r:.80}") from None
