"""`summary.md`: the page that GitHub shows under a CI run; failures first, at most 200 KiB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .diagnosis_text import diagnosis_lines
from .overview import (
    TroubleGroup,
    duration,
    facts,
    headline,
    known_clusters,
    matrix,
    next_moves,
    open_clusters,
    trouble_groups,
    unsupported_groups,
    where,
)
from .status import outcome_status, standing_status
from .text import TIMES, command_line, count, one_line, printable, shortened

if TYPE_CHECKING:
    from ..harness.judging.verdict import Cluster, Verdict

__all__ = ["MOST_BYTES", "code", "prose", "summary_text"]

MOST_BYTES = 200 * 1024


def summary_text(verdict: Verdict, *, most_bytes: int = MOST_BYTES) -> str:
    """Return the summary as GitHub markdown; what does not fit is left out from the end, and this is said."""
    blocks = [
        f"# {outcome_status(verdict).shape} {headline(verdict)}: {prose(verdict.sentence, 1000)}\n",
        _counts(verdict),
        *(f"* {prose(move)}" for move in next_moves(verdict)),
    ]
    sections: list[tuple[str, list[str]]] = [
        ("Deviations", [_cluster(cluster) for cluster in open_clusters(verdict)]),
        ("Known deviations that fail the gate", [_stale(verdict)] if verdict.stale else []),
        ("Known deviations about to expire", [f"* {prose(entry.text)}" for entry in verdict.expiring]),
        ("Rules by subject", [_matrix(verdict)] if verdict.cells else []),
        ("Not judged and flaky", [_trouble(group) for group in trouble_groups(verdict)]),
        ("Known deviations", [_known(cluster) for cluster in known_clusters(verdict)]),
        (
            "Unsupported",
            [
                f"* {count(group.cells, 'cell')} of {code(group.subject)}: {prose(group.reason)}"
                for group in unsupported_groups(verdict)
            ],
        ),
    ]
    last = f"\n## Environment\n\n{_environment(verdict)}"
    room = most_bytes - 2000 - sum(_size(block) for block in [*blocks, last])
    cut = []
    for title, items in sections:
        if not items:
            continue
        shown: list[str] = []
        for item in items:
            room -= _size(item)
            if room < 0:
                break
            shown.append(item)
        if len(shown) < len(items):
            cut.append(f"{len(items) - len(shown):,} of {len(items):,} under “{title}”")
            room = -1
        if shown:
            blocks += [f"\n## {title}\n", *shown]
    if cut:
        blocks.append(
            f"\n> Cut to keep this page below {most_bytes // 1024} KiB: {'; '.join(cut)}. "
            "`verdict.json` and `report.html` have all of it."
        )
    return "\n".join([*blocks, last]) + "\n"


def _counts(verdict: Verdict) -> str:
    counts = verdict.counts
    cells = f"{count(counts.cells, 'cell')} in {duration(verdict.seconds)}"
    parts = [
        f"{fact.status.shape} {fact.number} {fact.word}" for fact in facts(verdict) if fact.number != "0"
    ]
    pairs = (
        f" · pairs covered {counts.pairs_covered:,}/{counts.pairs_total:,}"
        if counts.pairs_total and counts.pairs_covered is not None
        else ""
    )
    return f"Exit code **{verdict.exit_code}** · {cells} · {' · '.join(parts)}{pairs}\n"


def _cluster(cluster: Cluster) -> str:
    status = standing_status(cluster.standing)
    at = cluster.first_divergence
    pair = f"{code(cluster.rule)} {TIMES} {code(cluster.subject)}"
    share = f"{cluster.failing:,} of {count(cluster.judged, 'cell')}"
    lines = [
        f"### {status.shape} {status.word}: {pair}, {share}\n",
        f"{prose(cluster.statement)}\n",
        "| | |\n|---|---|",
        *(
            f"| {name} | {code(value, 600)} |"
            for name, value in (
                ("smallest case", cluster.label),
                ("expected", cluster.expected),
                ("got", cluster.got),
                ("formula", cluster.formula),
                *diagnosis_lines(cluster),
            )
        ),
        f"| books part | {where(at) + ': ' if where(at) else ''}{prose(at.text)} |",
    ]
    if cluster.largest:
        large = cluster.largest
        lines.append(
            f"| largest case | {code(f'{large.label}: expected {large.expected}, got {large.got}', 600)} |"
        )
    if cluster.known_id:
        lines.append(f"| known as | {code(cluster.known_id)} {prose(cluster.reason)} |")
    if cluster.upstream:
        lines.append(f"| upstream | {code(cluster.upstream)} |")
    if cluster.owner:
        lines.append(f"| owner | {code(cluster.owner)}, until {code(cluster.expires or 'never')} |")
    lines.append(f"\nReproduce with:\n\n{_fence(command_line(cluster.reproduce))}\n")
    return "\n".join(lines)


def _known(cluster: Cluster) -> str:
    return (
        f"* {code(cluster.rule)} {TIMES} {code(cluster.subject)}, {count(cluster.failing, 'cell')}: "
        f"{code(cluster.known_id or 'no id')} {prose(cluster.reason)}"
        + (
            f" (owner {code(cluster.owner)}, {code(cluster.upstream or 'no report')})"
            if cluster.owner
            else ""
        )
    )


def _stale(verdict: Verdict) -> str:
    return "\n".join(
        f"* {code(entry.known_id)} is {prose(entry.standing)}: {prose(entry.text)}" for entry in verdict.stale
    )


def _trouble(group: TroubleGroup) -> str:
    many = count(len(group.cells), "cell")
    lines = [
        f"### {group.status.shape} {group.status.word}: {code(group.subject)}, {many}\n",
        f"{prose(group.kind)}:\n",
        _fence(group.message),
        f"\nReproduce with:\n\n{_fence(command_line(group.example.reproduce))}\n",
    ]
    if group.example.error and group.example.error.traceback:
        trace = shortened(printable(group.example.error.traceback).strip(), 3000)
        lines.append(f"<details><summary>traceback</summary>\n\n{_fence(trace)}\n\n</details>\n")
    return "\n".join(lines)


def _matrix(verdict: Verdict) -> str:
    found = matrix(verdict)
    subjects = found.subjects[:12]
    lines = [f"| rule | {' | '.join(code(name) for name in subjects)} |", "|---|" + "---|" * len(subjects)]
    for rule in found.rules:
        entries = (found.entries.get((rule, subject)) for subject in subjects)
        marks = (
            f"{entry.status.shape} {entry.deviating:,}/{entry.judged:,}" if entry else "not judged"
            for entry in entries
        )
        lines.append(f"| {code(rule)} | {' | '.join(marks)} |")
    if len(subjects) < len(found.subjects):
        lines.append(f"\n{len(found.subjects) - len(subjects)} more subjects are in `report.html`.")
    return "\n".join(lines)


def _environment(verdict: Verdict) -> str:
    here = verdict.environment
    packages = ", ".join(f"{name} {version}" for name, version in here.packages.items())
    return (
        f"{code(verdict.command, 1000)} at {code(verdict.started)}; stepaudit {code(here.stepaudit)}, "
        f"Python {code(here.python)}, {code(here.platform)}, device {code(here.device)}; "
        f"{code(packages, 2000)}"
    )


def prose(text: str, limit: int = 600) -> str:
    """Return hostile text as running text: nothing in it is markup, a mention, a link or a table border."""
    line = re.sub(
        r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", one_line(text, limit).replace("&", "&amp;").replace("<", "&lt;")
    )
    line = re.sub(
        r"(?i)\b(https?|ftp)://|\bwww\.",
        lambda match: match[0].replace(":", "&#58;").replace(".", "&#46;"),
        line,
    )
    return line.replace("@", "&#64;")


def code(text: str, limit: int = 200) -> str:
    """Return hostile text as a code span that also holds inside a table."""
    line = one_line(text, limit).replace("|", "¦") or " "
    ticks = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if "`" in line else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _fence(text: str) -> str:
    ticks = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _size(text: str) -> int:
    return len(text.encode()) + 1
