"""Verdicts and records for the tests of the reports: the founding case, hostile text, many cells."""

from __future__ import annotations

from typing import Any

from stepaudit.harness.judging.verdict import (
    BookLine,
    Books,
    CellOutcome,
    CellVerdict,
    Cluster,
    Counts,
    Deviation,
    Diagnosis,
    Divergence,
    Environment,
    Example,
    ExpiringEntry,
    Figures,
    GateTerms,
    InferredFormula,
    MissedFloor,
    RuleSummary,
    StaleEntry,
    Standing,
    Trouble,
    Verdict,
    VerdictOutcome,
)
from stepaudit.scenarios import Scenario

HOSTILE = [
    "</script><img src=x onerror=\"document.title='pwned'\">",
    "<script>document.title='pwned'</script>",
    "{{ 7*7 }}{% raw %} ${7*7} <!--",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1b[H",
    "NUL \x00 bell \x07 backspace \x08 delete \x7f C1 \x9b31m",
    "lone surrogates \ud800 \udfff and noncharacters \ufffe \uffff",
    "turned round \u202etxt.exe\u202c, invisible \u200b\u2060\ufeff, lines \u2028 \u2029",
    "]]> &amp; &#0; <![CDATA[ \" ' ` | \\ $x^2$ [bold]rich[/bold] @everyone **md** [a](javascript:alert(1))",
    '=HYPERLINK("http://example.invalid")',
    "```\n# not a heading\n</details>\r\nover\rwritten",
    "漢字 العربية ✓ 🧨 e\u0301",
    "x" * 200_000,
]

RULES = {
    "target": (
        "every run makes exactly T optimizer steps",
        "T = max_steps if max_steps > 0 else ceil(epochs · U)",
    ),
    "claim": ("what the trainer says it did is what it did", "global_step = optimizer steps"),
    "plan": ("the announced total is T", "planned = T"),
    "window": ("every update accumulates A micro-batches, the last of an epoch the rest", "A, …, A, M mod A"),
    "coverage": ("each row enters once an epoch", "rows = ceil(rows / B) micro-batches"),
    "weight": ("every label token of a window weighs the same", "w = 1 / N_window"),
    "schedule": ("update k uses the rate of the schedule at k - 1", "lr(k) = base · f(k - 1; warmup, T)"),
    "epoch": ("the claimed epoch is e + micro-batches done / M", "e + done / M"),
}


def books(
    expected: int, observed: int, claimed: int | None, *, accum: int = 4, reference: int | None = None
) -> Books:
    """Return the accounts of a run that makes `observed` optimizer steps where `expected` are right."""

    def figures(steps: int | None, planned: int | None = None) -> Figures:
        if steps is None:
            return Figures(planned_steps=planned)
        return Figures(
            optimizer_steps=steps,
            micro_batches=steps * accum,
            scheduler_steps=steps,
            skipped_steps=0,
            epochs=steps / 10,
            label_tokens=steps * accum * 30,
            planned_steps=planned,
        )

    return Books(
        observed=figures(observed),
        claimed=figures(claimed, planned=claimed if claimed is not None else observed),
        expected=figures(expected, planned=expected),
        reference=figures(reference) if reference is not None else None,
    )


def cell(subject: str, point: Scenario, number: int, **changes: Any) -> CellVerdict:
    """Return a cell that conforms, with changes."""
    cell_id = f"{number:04x}c0ffee5a{number * 2654435761 % 2**32:08x}"
    steps = point.max_steps or 8
    given: dict[str, Any] = {
        "id": cell_id,
        "subject": subject,
        "contract": "hf-5",
        "verdict": CellOutcome.CONFORMS,
        "scenario": point.to_mapping(),
        "label": point.label,
        "account": books(steps, steps, steps, accum=point.grad_accum, reference=steps),
        "rules_checked": list(RULES),
        "rules_unsupported": {},
        "deviations": [],
        "seconds": 0.0125,
        "reproduce": f"stepaudit replay {cell_id}",
    }
    return CellVerdict(**{**given, **changes})


def deviation(rule: str, expected: str, got: str, formula: str, **changes: Any) -> Deviation:
    """Return a new deviation, with changes."""
    given: dict[str, Any] = {
        "rule": rule,
        "expected": expected,
        "got": got,
        "formula": formula,
        "first_divergence": Divergence(
            event=31, update=9, text="an optimizer step that the contract does not have"
        ),
        "reproduce": "stepaudit replay 0000",
        "standing": Standing.NEW,
    }
    return Deviation(**{**given, **changes})


def overrun(subject: str, scenario: Scenario, number: int, steps: int, event: int) -> CellVerdict:
    """Return a cell that makes `steps` optimizer steps instead of `max_steps`, and announces them."""
    target = scenario.max_steps or 0
    plain = cell(subject, scenario, number)
    at = Divergence(
        event=event, update=target + 1, text=f"optimizer step {target + 1}; the contract ends at {target}"
    )
    return cell(
        subject,
        scenario,
        number,
        verdict=CellOutcome.DEVIATES,
        account=books(target, steps, None, accum=scenario.grad_accum, reference=target),
        rules_unsupported={
            "claim": "the subject claims no global_step",
            "epoch": "the subject claims no epoch",
        },
        rules_checked=[rule for rule in RULES if rule not in {"claim", "epoch"}],
        deviations=[
            deviation(
                "target",
                f"{target} optimizer steps",
                f"{steps} optimizer steps",
                f"T = max_steps = {target}  (max_steps > 0 overrides epochs)",
                first_divergence=at,
                reproduce=plain.reproduce,
            ),
            deviation(
                "plan",
                f"{target}",
                f"{steps} (progress bar)",
                f"planned = T = {target}",
                first_divergence=Divergence(event=0, update=None, text=f"the progress bar announces {steps}"),
                reproduce=plain.reproduce,
            ),
        ],
    )


def diagnosis(**changes: Any) -> Diagnosis:
    """Return the diagnosis of the founding case's overrun, with changes."""
    given: dict[str, Any] = {
        "interaction": "E_floor > E: 2/2 fail; elsewhere 0/1",
        "separates": True,
        "terms": ["E_floor = ceil(T_floor / U_floor)"],
        "formula": InferredFormula(
            figure="optimizer steps",
            formula="(E_floor·T) // E",
            numbers="(2·350) // 1 = 700",
            label="rows=5590 B=4 A=4 max_steps=350",
            where=["E_floor = ceil(T_floor / U_floor) = 2"],
            contract="T = max_steps = 350",
            right=3,
            of=3,
            rivals=["ceil(E_floor·T / E)"],
        ),
        "books": [
            BookLine(key="update 8", due="2 micro-batches", seen="2 micro-batches", differs=False),
            BookLine(key="update 9", due="–", seen="4 micro-batches", differs=True),
        ],
        "before": 7,
        "after": 7,
        "note": "",
    }
    return Diagnosis(**{**given, **changes})


def clusters_of(cells: list[CellVerdict], known: dict[str, str]) -> list[Cluster]:
    """Return the clusters of the cells' deviations, as the judge makes them."""
    groups: dict[tuple[str, str, Standing, str | None], list[tuple[CellVerdict, Deviation]]] = {}
    for item in cells:
        for found in item.deviations:
            groups.setdefault((found.rule, item.subject, found.standing, found.known_id), []).append(
                (item, found)
            )
    clusters = []
    for (rule, subject, standing, known_id), members in groups.items():
        smallest, found = min(members, key=lambda member: member[0].scenario["rows"])
        largest, its = max(members, key=lambda member: member[0].scenario["rows"])
        clusters.append(
            Cluster(
                rule=rule,
                statement=RULES.get(rule, ("", ""))[0],
                subject=subject,
                standing=standing,
                known_id=known_id,
                reason=known.get(known_id or "", ""),
                upstream="https://github.com/huggingface/transformers/issues/41913" if known_id else None,
                failing=len(members),
                judged=sum(rule in other.rules_checked for other in cells if other.subject == subject),
                cell_ids=[member.id for member, _ in members],
                smallest=smallest.id,
                label=smallest.label,
                expected=found.expected,
                got=found.got,
                formula=found.formula,
                first_divergence=found.first_divergence,
                reproduce=found.reproduce,
                diagnosis=diagnosis() if rule == "target" else None,
                largest=None
                if largest is smallest
                else Example(cell_id=largest.id, label=largest.label, expected=its.expected, got=its.got),
            )
        )
    return clusters


def verdict_of(cells: list[CellVerdict], **changes: Any) -> Verdict:
    """Return the verdict over these cells."""
    known = {"hf-iterable-epoch": "the epoch of an unsized dataset is guessed from max_steps"}
    standings = [{item.standing for item in one.deviations} for one in cells]
    outcomes = [one.verdict for one in cells]
    counts = Counts(
        cells=len(cells),
        executed=len(cells),
        from_store=0,
        conforms=outcomes.count(CellOutcome.CONFORMS),
        deviates=outcomes.count(CellOutcome.DEVIATES),
        new=sum(Standing.NEW in found for found in standings),
        known=sum(found == {Standing.KNOWN} for found in standings),
        drifted=sum(Standing.DRIFTED in found for found in standings),
        expired=sum(Standing.EXPIRED in found for found in standings),
        stale=1,
        flaky=outcomes.count(CellOutcome.FLAKY),
        unsupported=outcomes.count(CellOutcome.UNSUPPORTED),
        not_judged=outcomes.count(CellOutcome.ERROR),
        repeated=1,
        pairs_covered=680,
        pairs_total=680,
    )
    given: dict[str, Any] = {
        "exit_code": 1,
        "outcome": VerdictOutcome.VIOLATED,
        "sentence": "unsloth-zoo@2024.10.0 and unsloth-zoo@2026.10.5 make twice the optimizer steps that max_steps "
        "asks for (700 instead of 350).",
        "command": "stepaudit run --suite founding",
        "suite": "founding",
        "started": "2026-11-20T02:11:09+00:00",
        "seconds": 74.3,
        "counts": counts,
        "environment": Environment(
            stepaudit="0.1.0",
            python="3.11.9",
            platform="Linux-6.1-x86_64",
            device="cpu",
            packages={"torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0"},
        ),
        "contracts": {"hf-5": "Hugging Face Trainer, transformers 4.46 and later"},
        "clusters": clusters_of(cells, known),
        "stale": [
            StaleEntry(
                known_id="hf-plan-overestimate",
                standing="stale",
                text="no cell deviates any more: transformers 5.23.0 announces the right total; remove the entry",
                cell_ids=[],
            )
        ],
        "rules": [
            RuleSummary(
                rule=rule,
                statement=statement,
                formula=formula,
                checked=sum(rule in one.rules_checked for one in cells),
                deviating=sum(any(item.rule == rule for item in one.deviations) for one in cells),
                unsupported=sum(rule in one.rules_unsupported for one in cells),
            )
            for rule, (statement, formula) in RULES.items()
        ],
        "cells": cells,
    }
    return Verdict(**{**given, **changes})


def founding_cells() -> list[CellVerdict]:
    """Return the founding case, as measured, among cells of every other verdict."""
    big = Scenario(rows=5590, per_device_batch_size=4, grad_accum=4, max_steps=350)
    small = Scenario(rows=60, per_device_batch_size=2, grad_accum=4, max_steps=8)
    fits = Scenario(rows=64, per_device_batch_size=2, grad_accum=4, max_steps=7)
    unsized = small.with_(dataset="iterable", max_steps=6)
    masked = small.with_(loss_protocol="ignored", lengths="equal")
    subjects = ["hf", "unsloth-zoo@2024.10.0", "unsloth-zoo@2026.10.5", "unsloth-zoo@2026.10.6", "plain"]
    cells = [
        cell(subject, point, number)
        for number, (subject, point) in enumerate(
            (subject, point) for subject in subjects for point in (big, small, fits)
        )
    ]
    cells[3] = overrun("unsloth-zoo@2024.10.0", big, 3, 700, 5251)
    cells[4] = overrun("unsloth-zoo@2024.10.0", small, 4, 16, 105)
    cells[6] = overrun("unsloth-zoo@2026.10.5", big, 6, 700, 5251)
    cells[7] = overrun("unsloth-zoo@2026.10.5", small, 7, 16, 105)
    cells.append(
        cell(
            "hf",
            unsized,
            20,
            verdict=CellOutcome.DEVIATES,
            deviations=[
                deviation(
                    "epoch",
                    "0.8",
                    "6.0",
                    "e + done / M = 0 + 24 / 30 = 0.8",
                    standing=Standing.KNOWN,
                    known_id="hf-iterable-epoch",
                    first_divergence=Divergence(event=None, update=6, text="no log entry claims epoch 0.8"),
                ),
            ],
        )
    )
    cells.append(
        cell(
            "plain",
            masked,
            21,
            verdict=CellOutcome.DEVIATES,
            deviations=[
                deviation(
                    "weight",
                    "1/12",
                    "1/3 in row 7",
                    "w = 1 / N_window = 1 / (4 · 3) = 1/12",
                    standing=Standing.DRIFTED,
                    known_id="plain-mean-of-means",
                    first_divergence=Divergence(event=12, update=1, text="row 7 weighs 1/3 in update 1"),
                ),
            ],
        )
    )
    cells.append(
        cell(
            "accelerate",
            small,
            22,
            verdict=CellOutcome.FLAKY,
            error=Trouble(
                kind="flaky", message="two identical runs differ first at event 14: rows 3 5 against 5 3"
            ),
        )
    )
    trace = 'Traceback (most recent call last):\n  File "trainer.py", line 12\nZeroDivisionError: division by zero'
    for number, point in ((23, small), (24, fits)):
        cells.append(
            cell(
                "accelerate",
                point.with_(grad_accum=64),
                number,
                verdict=CellOutcome.ERROR,
                account=None,
                rules_checked=[],
                error=Trouble(
                    kind="exception", message="ZeroDivisionError: division by zero", traceback=trace
                ),
            )
        )
    cells.append(
        cell(
            "accelerate",
            unsized,
            25,
            verdict=CellOutcome.UNSUPPORTED,
            account=None,
            rules_checked=[],
            reason="needs a sized dataset to plan its epochs",
        )
    )
    cells.append(
        cell(
            "plain",
            fits.with_(epochs=1.5, max_steps=None),
            26,
            verdict=CellOutcome.DEVIATES,
            deviations=[
                deviation(
                    "claim",
                    "12",
                    "48",
                    "global_step = optimizer steps = 12",
                    standing=Standing.EXPIRED,
                    known_id="plain-claims-micro-batches",
                )
            ],
            account=books(12, 12, 48, reference=12),
        )
    )
    return cells


def founding_verdict(**changes: Any) -> Verdict:
    """Return the founding run's verdict."""
    return verdict_of(founding_cells(), **changes)


def passed_verdict() -> Verdict:
    """Return a run in which every cell conforms."""
    cells = [item for item in founding_cells() if item.verdict is CellOutcome.CONFORMS]
    return verdict_of(
        cells,
        exit_code=0,
        outcome=VerdictOutcome.PASSED,
        stale=[],
        sentence="All 11 cells conform to the contract.",
        counts=Counts(
            cells=11,
            executed=11,
            from_store=0,
            conforms=11,
            deviates=0,
            new=0,
            known=0,
            drifted=0,
            stale=0,
            expired=0,
            flaky=0,
            unsupported=0,
            not_judged=0,
            repeated=0,
        ),
    )


def hostile_diagnosis(text: str) -> Diagnosis:
    """Return a diagnosis in which every text is hostile."""
    formula = {"figure": text, "formula": text, "numbers": text, "label": text, "contract": text}
    return diagnosis(
        interaction=text,
        separates=False,
        terms=[text],
        formula=InferredFormula(**formula, where=[text], right=1, of=2, rivals=[text]),
        books=[BookLine(key=text, due=text, seen=text, differs=True)],
        note=text,
    )


def hostile_verdict() -> Verdict:
    """Return a verdict in which every text that comes from outside is hostile, each text in every place."""
    cells = []
    for number, text in enumerate(HOSTILE):
        point = Scenario(rows=60 + number, max_steps=8)
        bad = deviation(
            text,
            text,
            text,
            text,
            known_id=text,
            reproduce=text,
            first_divergence=Divergence(event=31, update=9, text=text),
        )
        cells.append(
            cell(
                text,
                point,
                number,
                verdict=CellOutcome.DEVIATES,
                label=text,
                contract=text,
                deviations=[bad],
                rules_checked=[text],
                rules_unsupported={text: text},
                reproduce=text,
                scenario={**point.to_mapping(), text[:50]: text},
            )
        )
        cells.append(
            cell(
                text,
                point,
                100 + number,
                verdict=CellOutcome.ERROR,
                label=text,
                account=None,
                reproduce=text,
                error=Trouble(kind=text, message=text, traceback=text),
            )
        )
        cells.append(
            cell(
                text,
                point,
                200 + number,
                verdict=CellOutcome.UNSUPPORTED,
                label=text,
                account=None,
                reason=text,
            )
        )
    everything = " ".join(HOSTILE)
    base = verdict_of(cells)
    large = Example(cell_id=everything, label=everything, expected=everything, got=everything)
    clusters = [
        one.model_copy(
            update={
                "statement": text,
                "reason": text,
                "upstream": text,
                "largest": large,
                "owner": text,
                "expires": text,
                "id": text,
                "diagnosis": hostile_diagnosis(text),
            }
        )
        for one, text in zip(base.clusters, HOSTILE, strict=True)
    ]
    return base.model_copy(
        update={
            "sentence": everything,
            "command": everything,
            "suite": everything,
            "clusters": clusters,
            "contracts": {text: text for text in HOSTILE},
            "baseline": HOSTILE,
            "gate": GateTerms(
                source=everything,
                informational=HOSTILE,
                missed=[MissedFloor(term=text, limit=1, got=0, text=text) for text in HOSTILE],
            ),
            "expiring": [
                ExpiringEntry(known_id=text, expires=text, days=1, owner=text, upstream=text, text=text)
                for text in HOSTILE
            ],
            "environment": Environment(
                stepaudit=everything,
                python=everything,
                platform=everything,
                device=everything,
                packages={text: text for text in HOSTILE},
            ),
            "rules": [
                RuleSummary(rule=text, statement=text, formula=text, checked=1, deviating=1, unsupported=1)
                for text in HOSTILE
            ],
            "stale": [
                StaleEntry(known_id=text, standing=text, text=text, cell_ids=[text]) for text in HOSTILE
            ],
        }
    )
