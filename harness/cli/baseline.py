"""`stepaudit baseline review` and `accept`: writing a known deviation is an act of review, never of CI."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console

from ...scenarios import ScenarioError, nearest
from ...scenarios.known import LONGEST_LIFE, parse_known
from ...scenarios.known_text import EMPTY_KNOWN, appended, entry_text
from ..contract import RULES, contract_named
from ..judging.acceptance import Proposal, proposals_for, version_ranges, wrong_values
from ..judging.verdict import Cluster, ExitCode, Standing, Verdict
from .baseline_files import NEAREST_GATE, gate_of
from .check import open_records
from .git import user_of
from .manifest import verdict_in
from .options import GateFile

__all__ = ["accept", "review"]

DEFAULT_LIFE = timedelta(days=90)
_NOT_REPORTED = "not reported"


def accept(
    directory: Path,
    cluster: str,
    /,
    *,
    reason: str,
    issue: str = _NOT_REPORTED,
    owner: str | None = None,
    expires: str | None = None,
    known: Path | None = None,
    gate: GateFile = NEAREST_GATE,
) -> int:
    """Write a cluster of new deviations into the project's known deviations; the run itself stays as it is.

    Parameters
    ----------
    directory
        The output directory of a run.
    cluster
        Id of the cluster, as the summary and verdict.json show it.
    reason
        Why it happens and why it is accepted.
    issue
        Where it is reported.
    owner
        Who looks after it; git's user.name without it.
    expires
        The last day on which it counts, at most 180 days from today; 90 days without it.
    known
        The file to write into; without it the one that the gate names.
    gate
        A file with [tool.stepaudit.gate] instead of the nearest pyproject.toml that has one; or no gate.
    """
    _refuse_in_ci()
    desk = _Desk.at(directory, known, gate)
    terms = _Terms(reason=reason, issue=issue, owner=owner or _somebody(), expires=_day(expires))
    found = desk.accept(desk.cluster(cluster), terms)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    _say(console, found, desk)
    return ExitCode.PASSED


def review(
    directory: Path = Path("stepaudit-out"),
    /,
    *,
    known: Path | None = None,
    gate: GateFile = NEAREST_GATE,
) -> int:
    """Walk the new deviations of a run, one cluster at a time, and ask for a reason to accept each.

    Parameters
    ----------
    directory
        The output directory of a run.
    known
        The file to write into; without it the one that the gate names.
    gate
        A file with [tool.stepaudit.gate] instead of the nearest pyproject.toml that has one; or no gate.
    """
    from ...reports.terminal import clusters_text

    _refuse_in_ci()
    desk = _Desk.at(directory, known, gate)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    clusters = desk.new_clusters()
    if not clusters:
        console.print("no new deviations: nothing to review")
    for number, cluster in enumerate(clusters, 1):
        console.print(f"\n{number} of {len(clusters)}  {cluster.id}")
        console.print(clusters_text([cluster]))
        reason = _asked(console, "reason (empty: leave it, q: stop)", "")
        if reason is None or reason == "q":
            break
        if not reason:
            continue
        terms = _asked_terms(console, reason)
        if terms is None:
            break
        try:
            _say(console, desk.accept(cluster, terms), desk)
        except ScenarioError as error:
            console.print(f"not accepted: {error}")
    return ExitCode.PASSED


@dataclass(frozen=True, kw_only=True, slots=True)
class _Terms:
    reason: str
    issue: str
    owner: str
    expires: date

    def __post_init__(self) -> None:
        for name in ("reason", "issue", "owner"):
            if not getattr(self, name).strip():
                raise ScenarioError(f"--{name} is empty; say it in a few words")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Desk:
    """A run and the file that its deviations are written into."""

    directory: Path
    verdict: Verdict
    file: Path

    @classmethod
    def at(cls, directory: Path, known: Path | None, gate: Path | None) -> _Desk:
        file = known or gate_of(gate).known
        verdict = verdict_in(directory)
        if file is None:
            raise ScenarioError(
                "where to? write --known FILE, or known = FILE under [tool.stepaudit.gate] of pyproject.toml"
            )
        return cls(directory=directory, verdict=verdict, file=file)

    def new_clusters(self) -> list[Cluster]:
        return [cluster for cluster in self.verdict.clusters if cluster.standing is Standing.NEW]

    def cluster(self, name: str) -> Cluster:
        """Return the new cluster of this id.

        Raises:
            ScenarioError: there is none, or it is not new.
        """
        by_id = {cluster.id: cluster for cluster in self.verdict.clusters}
        if name not in by_id:
            ids = [cluster.id for cluster in self.new_clusters()]
            hint = nearest(name, ids) if ids else "; it has no new deviations"
            raise ScenarioError(f"the run has no cluster {name!r}{hint}")
        found = by_id[name]
        if found.standing is not Standing.NEW:
            entry = f" by entry {found.known_id!r}: change that entry" if found.known_id else ""
            raise ScenarioError(f"cluster {name!r} is {found.standing.value}, not new{entry}")
        return found

    def accept(self, cluster: Cluster, terms: _Terms) -> list[Proposal]:
        """Append the entries that make a cluster known; nothing is written where they would not be understood.

        Raises:
            ScenarioError: the file cannot be understood, or knows the cluster already.
        """
        from ...reports.atomic import write_atomically
        from ...reports.text import one_line

        proposals = self._proposals(cluster)
        text = self.file.read_text(encoding="utf-8") if self.file.is_file() else EMPTY_KNOWN
        name = self.file.name
        before = parse_known(text, where=name, rules=RULES)
        taken = {entry.id for entry in before}
        made = {(entry.rule, entry.subject, str(entry.where), entry.got) for entry in before}
        added = datetime.now(UTC).date()
        entries = []
        for proposal in proposals:
            subject = cluster.subject.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
            if (cluster.rule, subject, proposal.where, proposal.got) in made:
                raise ScenarioError(f"{name} knows {cluster.id!r} already; run again to judge by it")
            entry_id = _free(cluster.id, taken)
            taken.add(entry_id)
            entries.append(
                entry_text(
                    {
                        "id": entry_id,
                        "rule": cluster.rule,
                        "subject": subject,
                        "versions": version_ranges(self._packages(cluster)) or None,
                        "where": proposal.where,
                        "got": proposal.got,
                        "got_formula": proposal.got_formula,
                        "reason": one_line(terms.reason, 2000),
                        "upstream": one_line(terms.issue, 500),
                        "owner": one_line(terms.owner, 200),
                        "added": added,
                        "expires": terms.expires,
                    }
                )
            )
        text = appended(text, entries)
        parse_known(text, where=name, rules=RULES)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, text)
        return proposals

    def _proposals(self, cluster: Cluster) -> list[Proposal]:
        contracts = {cell.id: cell.contract for cell in self.verdict.cells}
        with open_records(self.directory) as store:
            wrong = {
                cell_id: wrong_values(record, contract_named(contracts[cell_id]), cluster.rule)
                for cell_id in cluster.cell_ids
                if (record := store.get(cell_id)) is not None
            }
        return proposals_for(cluster, self.verdict.cells, wrong)

    def _packages(self, cluster: Cluster) -> dict[str, str]:
        with open_records(self.directory) as store:
            record = store.get(cluster.smallest)
        versions = record.versions if record is not None else {}
        return {name: version for name, version in versions.items() if name != "source"}


def _refuse_in_ci() -> None:
    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        raise ScenarioError("CI is set: known deviations are accepted by people in review, never in CI")


def _free(base: str, taken: set[str]) -> str:
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _somebody() -> str:
    name = user_of(Path.cwd())
    if name is None:
        with suppress(OSError, KeyError):
            name = getpass.getuser()
    if not name:
        raise ScenarioError("who looks after it? write --owner NAME")
    return name


def _day(text: str | None) -> date:
    today = datetime.now(UTC).date()
    if text is None:
        return today + DEFAULT_LIFE
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ScenarioError(f"--expires must be a day as in {today + DEFAULT_LIFE}, not {text!r}") from None
    if not today <= day <= today + LONGEST_LIFE:
        raise ScenarioError(
            f"--expires {day} must lie within {LONGEST_LIFE.days} days from today, until {today + LONGEST_LIFE}"
        )
    return day


def _asked_terms(console: Console, reason: str) -> _Terms | None:
    """Ask for the rest; what cannot be taken is asked for again; None at the end of the input."""
    defaults: dict[str, Callable[[], str]] = {
        "issue": lambda: _NOT_REPORTED,
        "owner": _somebody,
        "expires": (datetime.now(UTC).date() + DEFAULT_LIFE).isoformat,
    }
    answers: dict[str, str] = {}
    for name, default in defaults.items():
        while name not in answers:
            answer = _asked(console, name, default())
            if answer is None:
                return None
            try:
                if name == "expires":
                    _day(answer)
                answers[name] = answer
            except ScenarioError as error:
                console.print(str(error))
    return _Terms(
        reason=reason, issue=answers["issue"], owner=answers["owner"], expires=_day(answers["expires"])
    )


def _asked(console: Console, what: str, default: str) -> str | None:
    """Ask for one line; None at the end of the input."""
    try:
        answer = console.input(f"{what}{f' [{default}]' if default else ''}: ", markup=False)
    except EOFError:
        console.print()
        return None
    return answer.strip() or default


def _say(console: Console, proposals: list[Proposal], desk: _Desk) -> None:
    from ...reports.text import count

    for proposal in proposals:
        value = proposal.got if proposal.got is not None else f"= {proposal.got_formula}"
        console.print(
            f"known: {proposal.where or 'every scenario'}: {value} ({count(proposal.cells, 'cell')})"
        )
    console.print(f"written to {desk.file}; this run stays as it is, the next one knows it")
