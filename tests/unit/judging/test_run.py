"""The verdict on a run: counts, rules, packages, contracts, and the entries that fail it or are about to expire."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hand_written import broken, entry, failed, judged, record, refused, replayed
from stepaudit.harness.judging.run import CellTerms
from stepaudit.harness.judging.verdict import CellOutcome, Standing
from stepaudit.harness.ledger import Claims, Forward


def test_every_cell_is_counted_once_by_its_outcome():
    """The run's own numbers are passed on."""
    flaky = record(4, rows=9, cell_id="flaky")
    verdict = judged(
        record(4),
        record(4, rows=5),
        record(4, rows=6),
        broken(rows=7),
        broken(rows=8),
        flaky,
        failed(),
        refused(),
        flaky=frozenset({"flaky"}),
        executed=5,
        from_store=3,
        repeated=2,
        pairs=(7, 8),
    )
    counts = verdict.counts
    assert (counts.cells, counts.conforms, counts.deviates, counts.flaky) == (8, 3, 2, 1)
    assert (counts.not_judged, counts.unsupported) == (1, 1)
    assert (counts.executed, counts.from_store, counts.repeated) == (5, 3, 2)
    assert (counts.pairs_covered, counts.pairs_total) == (7, 8)


def test_a_run_starts_from_nothing():
    """Nothing run, nothing counted, no pairs promised."""
    counts = judged().counts
    assert set(counts.model_dump().values()) == {0, None}
    assert (counts.pairs_covered, counts.pairs_total) == (None, None)


def test_standings_are_counted_by_cell(tmp_path):
    """Two broken rules of one standing are one cell; of two standings, one of each."""
    both = broken(claims=Claims(global_step=1))
    counts = judged(both, broken(rows=5), rules=frozenset({"target", "claim"})).counts
    assert (counts.new, counts.known, counts.drifted) == (2, 0, 0)
    counts = judged(both, known=[entry(tmp_path)], rules=frozenset({"target", "claim"})).counts
    assert (counts.new, counts.known, counts.drifted) == (1, 1, 0)


def test_every_rule_is_told_with_how_often_it_was_asked_and_broken():
    """A rule with several findings in a cell is broken in one cell."""
    wrong = Claims(planned_steps={"state": 9, "bar": 8})
    cells = [record(4), record(4, rows=5, claims=wrong), record(8, rows=6, claims=wrong), failed()]
    told = {item.rule: item for item in judged(*cells).rules}
    assert (told["target"].checked, told["target"].deviating, told["target"].unsupported) == (3, 1, 0)
    assert (told["plan"].checked, told["plan"].deviating, told["plan"].unsupported) == (2, 2, 1)
    assert (told["claim"].checked, told["claim"].deviating, told["claim"].unsupported) == (0, 0, 3)


def test_a_rule_that_nobody_was_asked_about_is_told_too():
    """With zeros."""
    assert {(item.checked, item.deviating, item.unsupported) for item in judged().rules} == {(0, 0, 0)}


def with_versions(rows, **versions):
    return replace(record(4, rows=rows), versions=versions)


def test_packages_are_told_once_with_all_their_versions():
    """In order; the source of the subject is no package."""
    cells = [
        with_versions(5, torch="2.13.0", source="abc"),
        with_versions(6, torch="2.9.0", numpy="2.0"),
        with_versions(7, torch="2.13.0"),
        with_versions(8, torch="2.10.0"),
        with_versions(9, torch="2.9.0"),
    ]
    packages = judged(*cells).environment.packages
    assert packages == {"numpy": "2.0", "torch": "2.10.0, 2.13.0, 2.9.0"}
    assert list(packages) == ["numpy", "torch"]


def test_a_version_that_is_part_of_another_is_not_lost():
    """2.1 is in 2.1.0 as text only."""
    cells = [with_versions(5, torch="2.1.0"), with_versions(6, torch="2.1")]
    assert judged(*cells).environment.packages == {"torch": "2.1, 2.1.0"}


class TestWhatACellIsJudgedBy:
    """Its own contract, the run's or, before both, that of the cell's terms; likewise rules and known deviations."""

    CELL = broken(cell_id="c", claims=Claims(global_step=1))

    def contract(self, **facts):
        (name,) = judged(self.CELL, **facts).contracts
        return name

    def test_contract(self):
        """The record names it unless the run or the cell's terms do."""
        terms = {"c": CellTerms(rules=frozenset({"target"}), contract="hf-4.45", known=())}
        silent = {"c": CellTerms(rules=frozenset({"target"}), contract=None, known=())}
        assert self.contract() == "token-mean"
        assert self.contract(contract="trl-sft") == "trl-sft"
        assert self.contract(contract="trl-sft", terms=terms) == "hf-4.45"
        assert self.contract(contract="trl-sft", terms=silent) == "trl-sft"
        assert self.contract(terms=silent) == "token-mean"

    def test_rules_and_known_deviations(self, tmp_path):
        """The run's are not asked besides."""
        own = CellTerms(rules=frozenset({"target"}), contract=None, known=(entry(tmp_path, id="own"),))
        of_the_run = [entry(tmp_path, id="of-the-run")]
        verdict = judged(self.CELL, known=of_the_run, rules=frozenset({"target", "claim"}), terms={"c": own})
        assert verdict.cells[0].rules_checked == ["target"]
        assert [item.known_id for item in verdict.clusters] == ["own"]
        assert verdict.clusters[0].reason == "it doubles"


class TestReference:
    """The cell of the reference on the same scenario stands beside a cell where it has books."""

    @pytest.mark.parametrize(
        ("reference", "figure"), [(record(3, cell_id="r"), 3), (failed(), None), (refused(), None)]
    )
    def test_books(self, reference, figure):
        """Nothing stands beside it where the reference gave none."""
        (cell,) = judged(broken(), reference=[reference]).cells
        assert (cell.account.reference and cell.account.reference.optimizer_steps) == figure

    def test_the_reference_stands_beside(self):
        """Books show the reference's figures of the same scenario, and of no other."""
        reference = [record(4, subject="hf", cell_id="r")]
        same, other = judged(broken(), broken(rows=5, cell_id="o"), reference=reference).cells
        assert same.account.reference.optimizer_steps == 4
        assert other.account.reference is None

    def test_scenarios_that_differ_in_the_seventh_digit_are_two(self):
        """A label is for people; records are paired by the whole scenario."""
        near = {"max_steps": None, "epochs": 1.0000001}
        reference = [record(4, subject="hf", cell_id="r", **near)]
        cell = judged(record(4, max_steps=None, epochs=1.0), reference=reference).cells[0]
        assert cell.account.reference is None

    @pytest.mark.parametrize(
        ("has_replay", "apart", "parts"),
        [(True, 0.0, False), (True, 0.5, True), (False, 0.5, False)],
    )
    def test_curves(self, has_replay, apart, parts):
        """A cell is compared with them where the reference is of the numeric tier; both follow the same windows."""
        own = replayed(record(4, cell_id="own"))
        events = tuple(
            replace(event, loss=event.loss + apart) if isinstance(event, Forward) else event
            for event in own.events
        )
        reference = replace(own, cell_id="r", events=events, replay=own.replay if has_replay else None)
        (cell,) = judged(own, reference=[reference], rules=frozenset({"curve"})).cells
        assert cell.rules_checked == ["curve"]
        assert [("the reference" in item.first_divergence.text) for item in cell.deviations] == [True] * parts


class TestEntriesThatFail:
    """Stale and expired entries, each with its cells."""

    def test_both_are_told_with_their_cells(self, tmp_path):
        """Stale ones first."""
        known = [
            entry(tmp_path, id="old", where="rows:5,6", expires=date(2026, 2, 1)),
            entry(tmp_path, id="gone", where="rows:7,8"),
        ]
        cells = [
            *(broken(rows=rows, cell_id=str(rows)) for rows in (5, 6)),
            *(record(4, rows=rows, cell_id=str(rows)) for rows in (7, 8)),
        ]
        verdict = judged(*cells, known=known, rules=frozenset({"target"}))
        assert [(item.known_id, item.standing, item.cell_ids) for item in verdict.stale] == [
            ("gone", "stale", ["7", "8"]),
            ("old", "expired", ["5", "6"]),
        ]
        assert "gone covers cells that now conform (2 cells)" in verdict.stale[0].text
        assert "old has expired and still shows (2 cells)" in verdict.stale[1].text
        assert (verdict.counts.stale, verdict.counts.expired) == (1, 1)


class TestEntriesThatExpireSoon:
    """A warning, not a failure."""

    def expiring(self, *known, cells=()):
        verdict = judged(*(cells or [broken()]), known=known, rules=frozenset({"target"}))
        return [(item.known_id, item.days) for item in verdict.expiring]

    def test_the_most_urgent_first(self, tmp_path):
        """With the days that are left."""
        late = entry(tmp_path, id="late", where="rows:4", expires=date(2026, 3, 9))
        soon = entry(tmp_path, id="soon", where="rows:5", expires=date(2026, 3, 3))
        cells = (broken(), broken(rows=5))
        assert self.expiring(late, soon, cells=cells) == [("soon", 2), ("late", 8)]

    @pytest.mark.parametrize(("day", "days"), [(1, 0), (15, 14)])
    def test_within_two_weeks(self, tmp_path, day, days):
        """The last day is one of them."""
        assert self.expiring(entry(tmp_path, expires=date(2026, 3, day))) == [("doubles", days)]

    def test_nothing_is_said_of_others(self, tmp_path):
        """Those that hold for longer, that have expired, or that did not show in this run as known."""
        assert self.expiring(entry(tmp_path, expires=date(2026, 3, 16))) == []
        assert self.expiring(entry(tmp_path, expires=date(2026, 2, 28))) == []
        assert self.expiring(entry(tmp_path, expires=date(2026, 3, 2), where="rows:5")) == []
        assert self.expiring(entry(tmp_path, expires=date(2026, 3, 2), got="1 optimizer step")) == []


def test_the_run_is_told_as_it_was():
    """Command, suite, time, device, baseline."""
    verdict = judged(record(4), device="cuda", baseline=("known.toml",))
    assert (verdict.command, verdict.suite, verdict.seconds) == ("x", "hand", 1.0)
    assert (verdict.started, verdict.baseline) == ("2026-03-01T00:00:00Z", ["known.toml"])
    assert verdict.environment.device == "cuda"
    assert judged(record(4)).environment.device == "cpu"


def test_a_flaky_cell_keeps_what_was_found_in_it():
    """It fails whatever its deviations are."""
    cell = broken(cell_id="loose")
    verdict = judged(cell, flaky=frozenset({"loose"}))
    assert verdict.cells[0].verdict is CellOutcome.FLAKY
    assert {item.standing for item in verdict.cells[0].deviations} == {Standing.NEW}
    assert verdict.counts.deviates == 0
