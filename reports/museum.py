"""The museum as a page: every exhibit with its bad and its fixed release side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.judging.verdict import ExhibitVerdict, Shown, Verdict

__all__ = ["museum_text"]

_HEAD = """\
{confirmed} of {all} exhibits confirmed. Each is a fault of a release that people have trained with, in the smallest
scenario that shows it, beside the release that mended it: both the real wheels from PyPI, run on CPU by `{command}`.
Exhibits by project: {projects}.
"""


def museum_text(verdict: Verdict) -> str:
    """Return the page in Markdown; empty where the run was of no museum."""
    exhibits = verdict.museum
    if not exhibits:
        return ""
    confirmed = sum(exhibit.confirmed for exhibit in exhibits)
    projects = ", ".join(f"{name} ({count})" for name, count in _projects(exhibits).items())
    lines = [
        "# The museum of wrong accounting\n",
        _HEAD.format(confirmed=confirmed, all=len(exhibits), command=verdict.command, projects=projects),
        "| exhibit | rule | bad release | the contract says | fixed release |",
        "|---|---|---|---|---|",
        *(_row(exhibit) for exhibit in exhibits),
        "",
    ]
    for exhibit in exhibits:
        lines += _card(exhibit)
    return "\n".join(lines)


def _projects(exhibits: Sequence[ExhibitVerdict]) -> dict[str, int]:
    names = [exhibit.project for exhibit in exhibits]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def _row(exhibit: ExhibitVerdict) -> str:
    cells = (
        f"[{_cell(exhibit.title)}](#{exhibit.id})",
        f"`{exhibit.rule}`",
        f"{_cell(exhibit.bad.release)}: **{_cell(exhibit.bad.got) or 'not seen'}**",
        _cell(exhibit.expected),
        _fixed(exhibit.fixed),
    )
    return "| " + " | ".join(cells) + " |"


def _fixed(shown: Shown) -> str:
    if shown.got:
        return f"{_cell(shown.release)}: **{_cell(shown.got)}**"
    return f"{_cell(shown.release)}: {'✓' if shown.verdict else 'did not run'}"


def _card(exhibit: ExhibitVerdict) -> list[str]:
    lines = [
        f'<a id="{exhibit.id}"></a>',
        "",
        f"## {exhibit.project}: {exhibit.title}",
        "",
        exhibit.story,
        "",
        f"* asked for: `{exhibit.label}`",
        f"* {exhibit.bad.release}: {exhibit.bad.got or 'not seen'}",
        f"* {exhibit.fixed.release}: {exhibit.fixed.got or 'keeps the rule'}",
        f"* rule `{exhibit.rule}`: {exhibit.statement}",
    ]
    if exhibit.formula:
        lines.append(f"* the contract: `{exhibit.formula}`, so {exhibit.expected}")
    if exhibit.first_divergence:
        lines.append(f"* the books part: {exhibit.first_divergence.text}")
    if exhibit.trouble:
        lines.append(f"* not confirmed: {exhibit.trouble}")
    lines += [f"* upstream: {exhibit.upstream}", *(f"* `{text}`" for text in exhibit.reproduce), ""]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "/")
