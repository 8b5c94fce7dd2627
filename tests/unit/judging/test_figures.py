"""What a cell's verdict shows beside its deviations: figures of all accounts, and the numbers a formula may name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_written import TODAY, broken, entry, judged, record
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.judging import cells
from stepaudit.harness.judging.cells import judge_cell, reproduce_line
from stepaudit.harness.judging.verdict import CellOutcome, Standing
from stepaudit.harness.ledger import CellError, Claims, Outcome, RankLedger
from stepaudit.scenarios import Scenario, ScenarioError


def test_the_three_accounts_figure_by_figure():
    """Observed from the events, claimed as said, expected by the contract."""
    claims = Claims(global_step=9, epoch=2.5, planned_steps={"state": 7, "bar": 8})
    account = judged(record(6, rows=4, max_steps=5, claims=claims)).cells[0].account
    observed, claimed, expected = account.observed, account.claimed, account.expected
    assert (observed.optimizer_steps, observed.micro_batches, observed.label_tokens) == (6, 6, 24)
    assert (observed.scheduler_steps, observed.skipped_steps, observed.epochs) == (0, 0, 1.5)
    assert (claimed.optimizer_steps, claimed.epochs, claimed.planned_steps) == (9, 2.5, 7)
    assert (expected.optimizer_steps, expected.micro_batches, expected.scheduler_steps) == (5, 5, 5)
    assert (expected.skipped_steps, expected.planned_steps, expected.epochs) == (0, 5, 1.25)


def test_a_loop_without_claims_claims_nothing():
    """None, not 0."""
    claimed = judged(record(4)).cells[0].account.claimed
    assert (claimed.optimizer_steps, claimed.epochs, claimed.planned_steps) == (None, None, None)


@pytest.mark.parametrize(
    ("asked", "checkpoint"),
    [({"resume_at": 3, "save_steps": 2}, 2), ({"resume_at": 3}, 3), ({"resume_at": 2, "save_steps": 2}, 2)],
)
def test_a_formula_may_name_the_checkpoint_that_was_resumed_from(tmp_path, asked, checkpoint):
    """The newest one before the interruption; without a cadence the interruption's own."""
    known = [entry(tmp_path, got_formula="expected + resumed_at")]
    cells = judged(record(4 + checkpoint, **asked), known=known).cells
    assert cells[0].deviations[0].standing is Standing.KNOWN
    (other,) = [
        item
        for item in judged(record(5 + checkpoint, **asked), known=known).cells[0].deviations
        if item.rule == "target"
    ]
    assert other.standing is Standing.DRIFTED


def test_without_an_interruption_nothing_was_resumed_from(tmp_path):
    """A formula that names it has no value there, and that is said, not passed over."""
    known = [entry(tmp_path, got_formula="expected + resumed_at")]
    with pytest.raises(ScenarioError, match="needs resumed_at, which has no value here"):
        judged(broken(), known=known)


def test_a_checkpoint_that_nobody_resumes_from_is_none(tmp_path):
    """A cadence alone is no interruption."""
    known = [entry(tmp_path, got_formula="expected * 2")]
    (cell,) = judged(broken(save_steps=2), known=known, rules=frozenset({"target"})).cells
    assert cell.deviations[0].standing is Standing.KNOWN


def test_padding_is_told_where_there_are_ranks():
    """The rows that were read again; on one rank the question does not arise."""
    assert judged(record(4)).cells[0].account.padding_rows is None
    one = record(2, rows=3, ranks=2, max_steps=2)
    other = RankLedger(rank=1, events=one.events, claims=Claims(), parameter_distance=0.0)
    assert judged(replace(one, others=(other,))).cells[0].account.padding_rows == [1]


def test_an_error_is_never_judged_whatever_its_record_says():
    """Also where it does not say what the error was."""
    (cell,) = judged(replace(record(4), outcome=Outcome.ERROR, error=None)).cells
    assert (cell.verdict, cell.account, cell.rules_checked) == (CellOutcome.ERROR, None, [])
    assert cell.error.message == "its record does not say why"


def test_an_error_is_told_with_its_traceback():
    """As the record has it."""
    error = CellError(kind="raised", message="no", traceback="line 1")
    (cell,) = judged(replace(record(0), outcome=Outcome.ERROR, error=error)).cells
    assert (cell.error.kind, cell.error.message, cell.error.traceback) == ("raised", "no", "line 1")


def test_a_cell_counts_unless_the_caller_says_otherwise():
    """Neither flaky nor informational by itself."""
    conforming, deviating = (
        judge_cell(item, CONTRACTS["token-mean"], (), today=TODAY).verdict for item in (record(4), broken())
    )
    assert conforming.verdict is CellOutcome.CONFORMS
    assert {item.standing for item in deviating.deviations} == {Standing.NEW}


def test_a_tier_is_an_option_of_its_own():
    """Not an axis, and not said where it is the usual one."""
    scenario = Scenario(rows=9, tier="predict")
    assert reproduce_line("hf", scenario) == "stepaudit run --subject hf --tier predict --axis rows=9"
    assert reproduce_line("hf", Scenario(rows=9)) == "stepaudit run --subject hf --axis rows=9"


def test_a_cell_is_not_compared_with_itself(monkeypatch):
    """The reference's own run stands beside others only, and nothing stands where there is no reference."""
    seen = []
    draw_up = cells.draw_up
    monkeypatch.setattr(cells, "draw_up", lambda *given: (seen.append(given[2]), draw_up(*given))[1])
    own, other = record(4, cell_id="own"), record(4, cell_id="other")
    figures = judged(own).cells[0].account.observed
    seen.clear()
    reference = cells.Reference(cell_id="own", figures=figures, run="the reference's run")
    for cell, beside in ((own, reference), (own, None)):
        cells.judge_cell(cell, CONTRACTS["token-mean"], (), today=TODAY, reference=beside)
    assert seen == [None, None]
    monkeypatch.setattr(
        cells, "draw_up", lambda *given: (seen.append(given[2]), draw_up(given[0], given[1]))[1]
    )
    cells.judge_cell(other, CONTRACTS["token-mean"], (), today=TODAY, reference=reference)
    assert seen[-1] == "the reference's run"


def test_a_run_that_has_nothing_to_train_on_is_due_no_epoch():
    """drop_last leaves no micro-batch: 0 epochs, 0 updates."""
    expected = judged(record(0, rows=1, per_device_batch_size=2, drop_last=True)).cells[0].account.expected
    assert (expected.epochs, expected.optimizer_steps) == (0.0, 0)
