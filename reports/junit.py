"""`junit.xml`: one suite a subject, one test case a cell; the shape of Ant's and Jenkins' schema."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ..harness.judging.verdict import CellOutcome, CellVerdict, Deviation, StaleEntry, Standing, Verdict
from .overview import where
from .status import standing_status, worst
from .text import command_line, one_line, printable, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["deviation_text", "excuse_text", "junit_text"]

_MOST = 20_000
"""characters of one message body; CI servers load the whole file into memory"""


def junit_text(verdict: Verdict) -> str:
    """Return the verdict as JUnit XML.

    New, drifted and expired deviations and flaky cells are failures; cells without a verdict are errors;
    cells whose deviations are all known, and unsupported ones, are skipped, with the reason. Stale known
    deviations and missed terms of the gate are failures in suites of their own. A test case has at most one
    failure, error or skip, because Ant's schema allows no more: several broken rules share it.
    """
    root = ET.Element("testsuites", name="stepaudit")
    by_subject: dict[str, list[CellVerdict]] = {}
    for cell in verdict.cells:
        by_subject.setdefault(cell.subject, []).append(cell)
    suites = [
        (subject, [_cell_case(verdict, cell) for cell in cells]) for subject, cells in by_subject.items()
    ]
    if verdict.stale:
        suites.append(
            (
                "known deviations",
                [_stale_case(entry) for entry in verdict.stale],
            )
        )
    missed = verdict.gate.missed if verdict.gate is not None else []
    if missed:
        cases = [
            _problem(_case("stepaudit.gate", floor.term, 0.0), "failure", "gate", floor.text)
            for floor in missed
        ]
        suites.append(("gate", cases))
    if not verdict.cells:
        suites.append(
            (
                "selection",
                [_problem(_case("stepaudit", "selection", 0.0), "error", "nothing", verdict.sentence)],
            )
        )
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for name, cases in suites:
        numbers = {
            "tests": len(cases),
            "failures": _with(cases, "failure"),
            "errors": _with(cases, "error"),
        }
        suite = ET.SubElement(root, "testsuite", name=one_line(name))
        _set(suite, numbers | {"skipped": _with(cases, "skipped")})
        suite.set("time", _time(sum(float(case.get("time", 0)) for case in cases)))
        suite.set("timestamp", one_line(verdict.started[:19]))
        suite.extend(cases)
        totals = {key: totals[key] + number for key, number in numbers.items()}
    _set(root, totals)
    root.set("time", _time(verdict.seconds))
    ET.indent(root)
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


def deviation_text(deviation: Deviation) -> str:
    """Return the evidence of one deviation as plain lines, the reproduce line last."""
    at = deviation.first_divergence
    lines = [
        f"rule {deviation.rule} ({standing_status(deviation.standing).word})",
        f"  formula   {one_line(deviation.formula, 2000)}",
        f"  expected  {one_line(deviation.expected, 2000)}",
        f"  got       {one_line(deviation.got, 2000)}",
        f"  books part at {where(at) or 'the end'}: {one_line(at.text, 2000)}",
        f"Reproduce with: {command_line(deviation.reproduce)}",
    ]
    return "\n".join(lines)


def excuse_text(cell: CellVerdict) -> str:
    """Return why the deviations of a cell do not fail: known ones by their ids, informational ones by their rules."""
    known = [item.known_id or item.rule for item in cell.deviations if item.standing is Standing.KNOWN]
    told = [item.rule for item in cell.deviations if item.standing is Standing.INFORMATIONAL]
    parts = [
        f"known deviation: {', '.join(dict.fromkeys(known))}" if known else "",
        f"informational: {', '.join(dict.fromkeys(told))}" if told else "",
    ]
    return "; ".join(part for part in parts if part)


def _cell_case(verdict: Verdict, cell: CellVerdict) -> ET.Element:
    case = _case(f"stepaudit.{verdict.suite}.{cell.subject}", f"{cell.label} [{cell.id[:12]}]", cell.seconds)
    if cell.verdict is CellOutcome.DEVIATES:
        open_ones = [item for item in cell.deviations if item.standing.fails]
        if cell.deviations and not open_ones:
            return _problem(case, "skipped", "", excuse_text(cell))
        return _failure(case, open_ones)
    if cell.verdict is CellOutcome.FLAKY:
        message = cell.error.message if cell.error else "two identical runs gave different ledgers"
        return _problem(case, "failure", "flaky", message, f"Reproduce with: {command_line(cell.reproduce)}")
    if cell.verdict is CellOutcome.ERROR:
        kind, message, trace = (
            (cell.error.kind, cell.error.message, cell.error.traceback) if cell.error else ("", "", "")
        )
        body = f"{trace}\nReproduce with: {command_line(cell.reproduce)}"
        return _problem(case, "error", kind or "error", message or "no record", body)
    if cell.verdict is CellOutcome.UNSUPPORTED:
        return _problem(case, "skipped", "", f"unsupported: {cell.reason}")
    return case


def _failure(case: ET.Element, deviations: list[Deviation]) -> ET.Element:
    if not deviations:
        return _problem(case, "failure", "new", "deviates, but the verdict names no rule")
    status = worst([standing_status(item.standing) for item in deviations])
    rules = ", ".join(dict.fromkeys(item.rule for item in deviations))
    first = deviations[0]
    message = f"{rules}: expected {first.expected}, got {first.got} ({first.formula})"
    body = "\n\n".join(deviation_text(item) for item in deviations)
    return _problem(case, "failure", status.word, message, body)


def _stale_case(entry: StaleEntry) -> ET.Element:
    case = _case("stepaudit.known_deviations", entry.known_id, 0.0)
    return _problem(case, "failure", entry.standing, entry.text)


def _case(classname: str, name: str, seconds: float) -> ET.Element:
    return ET.Element(
        "testcase", classname=one_line(classname), name=one_line(name, 500), time=_time(seconds)
    )


def _problem(case: ET.Element, tag: str, kind: str, message: str, body: str = "") -> ET.Element:
    """Return the test case with its failure, error or skip."""
    problem = ET.SubElement(case, tag, message=one_line(message, 500))
    if kind:
        problem.set("type", one_line(kind))
    if body:
        problem.text = shortened(printable(body), _MOST)
    return case


def _with(cases: Iterable[ET.Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)


def _set(element: ET.Element, numbers: dict[str, int]) -> None:
    for name, number in numbers.items():
        element.set(name, str(number))


def _time(seconds: float) -> str:
    return f"{seconds:.3f}" if 0 <= seconds < 10**9 else "0.000"
