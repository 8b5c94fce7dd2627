"""Which deviations are known to a run: from which files, at which commit, and what was known when it started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...scenarios import ScenarioError
from ...scenarios.border import read_text
from ...scenarios.gate import NO_GATE, PROJECT_FILE, Gate, find_gate, load_gate
from ...scenarios.known import KNOWN_FILE, KnownDeviation, parse_known
from ..contract import RULES
from .git import file_at_merge_base
from .manifest import KnownText

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NEAREST_GATE", "Baseline", "baseline_of", "gate_of", "known_then"]

NEAREST_GATE = Path(PROJECT_FILE)
"""stands for the gate of the current project: told apart by identity from a file that the user named"""
_BUILT_IN = "built-in"


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The known deviations of a run.

    Attributes:
        entries: all of them.
        texts: the files that they are from, as they were read.
    """

    entries: tuple[KnownDeviation, ...]
    texts: tuple[KnownText, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Where they were read, for people."""
        return tuple(text.source for text in self.texts)


def gate_of(named: Path | None) -> Gate:
    """Return the gate that `--gate FILE`, `--no-gate` (None) or neither (NEAREST_GATE) asks for.

    Raises:
        ScenarioError: it cannot be read or understood.
    """
    if named is None:
        return NO_GATE
    return find_gate(Path.cwd()) if named is NEAREST_GATE else load_gate(named)


def baseline_of(
    known: Path | None, gate: Gate = NO_GATE, *, base_ref: str | None = None, built_in: bool = True
) -> Baseline:
    """Return the known deviations of the command line's file; without one the built-in ones and the project's.

    Args:
        known: `--known`.
        gate: names the project's file.
        base_ref: read the project's file at the merge base with this ref instead of from the working tree.
        built_in: whether the built-in ones are among them.

    Raises:
        ScenarioError: a file that cannot be read or understood, or that git does not know.
    """
    own = known or gate.known
    if base_ref is not None and own is None:
        raise ScenarioError(
            f"--base-ref {base_ref} needs known deviations of this project: --known FILE, or known = FILE under "
            "[tool.stepaudit.gate]"
        )
    texts = [] if known is not None or not built_in else [_text(KNOWN_FILE, source=_BUILT_IN)]
    if own is not None:
        texts.append(_text(own) if base_ref is None else _text_at_base(own, base_ref))
    return _parsed(texts)


def known_then(asked: Baseline | None, then: Sequence[KnownText] | None) -> Baseline:
    """Return what may count for a run that is judged again: nothing that was not known when it started.

    Args:
        asked: the known deviations to judge by; None means all that were known then.
        then: the files as the run read them; None for a run that kept none.
    """
    if then is None:
        return asked or baseline_of(None)
    at_start = _parsed(then)
    if asked is None:
        return at_start
    return replace(asked, entries=tuple(entry for entry in asked.entries if entry in at_start.entries))


def _parsed(texts: Sequence[KnownText]) -> Baseline:
    entries: dict[str, KnownDeviation] = {}
    for text in texts:
        for entry in parse_known(text.text, where=Path(text.file).name, rules=RULES):
            if entry.id in entries:
                raise ScenarioError(f"{text.file}: id {entry.id!r} is used by an entry of another file")
            entries[entry.id] = entry
    return Baseline(entries=tuple(entries.values()), texts=tuple(texts))


def _text(path: Path, *, source: str = "") -> KnownText:
    return KnownText(source=source or str(path), file=source or str(path), text=read_text(path))


def _text_at_base(path: Path, ref: str) -> KnownText:
    found = file_at_merge_base(path, ref)
    place = f"{path} at {found.commit}, the merge base with {ref}"
    if found.text is None:
        return KnownText(source=f"{place} (it has no such file)", file=str(path), text="schema = 1\n")
    return KnownText(source=place, file=str(path), text=found.text)
