"""The gate: exit codes, what cannot be judged, and lines that reproduce."""

from __future__ import annotations

import shlex

import pytest
from hand_written import broken, entry, failed, judged, record, refused
from hypothesis import assume, given
from hypothesis import strategies as st
from stepaudit.harness.judging.cells import reproduce_line
from stepaudit.harness.judging.verdict import CellOutcome, Verdict, VerdictOutcome
from stepaudit.scenarios import (
    FirstLabel,
    LengthProfile,
    LossProtocol,
    LrSchedule,
    ModelKind,
    OptimizerName,
    Scenario,
    ScenarioError,
    Tier,
)
from stepaudit.scenarios.axes import parse_axes

FINE, WRONG, LOST, DECLINED = record(4, cell_id="fine"), broken(cell_id="wrong"), failed(), refused()


@pytest.mark.parametrize(
    ("records", "facts", "code", "outcome"),
    [
        ([FINE], {}, 0, VerdictOutcome.PASSED),
        ([FINE, DECLINED], {}, 0, VerdictOutcome.PASSED),
        ([WRONG], {}, 1, VerdictOutcome.VIOLATED),
        ([FINE, WRONG], {}, 1, VerdictOutcome.VIOLATED),
        ([WRONG, LOST], {}, 1, VerdictOutcome.VIOLATED),
        ([FINE], {"flaky": frozenset({"fine"})}, 1, VerdictOutcome.VIOLATED),
        ([FINE, LOST], {}, 3, VerdictOutcome.NOT_JUDGED),
        ([LOST], {}, 3, VerdictOutcome.NOT_JUDGED),
        ([LOST, DECLINED], {}, 3, VerdictOutcome.NOT_JUDGED),
        ([DECLINED], {}, 4, VerdictOutcome.NOTHING),
        ([], {}, 4, VerdictOutcome.NOTHING),
        ([FINE], {"interrupted": True}, 130, VerdictOutcome.INTERRUPTED),
        ([WRONG], {"interrupted": True}, 130, VerdictOutcome.INTERRUPTED),
        ([], {"interrupted": True}, 130, VerdictOutcome.INTERRUPTED),
    ],
)
def test_exit_codes(records, facts, code, outcome):
    """DESIGN §7; a violation outranks a cell that was not judged, an interruption outranks both."""
    verdict = judged(*records, **facts)
    assert (verdict.exit_code, verdict.outcome) == (code, outcome)
    assert verdict.sentence
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_known_deviations_pass_and_an_error_beside_them_does_not(tmp_path):
    """Accepted is not the same as judged."""
    known = [entry(tmp_path)]
    assert judged(WRONG, known=known).exit_code == 0
    assert judged(WRONG, LOST, known=known).exit_code == 3


def test_a_cell_without_a_ledger_is_never_fine():
    """Neither conforming nor deviating, and it has no books."""
    cell = judged(LOST).cells[0]
    assert cell.verdict is CellOutcome.ERROR
    assert (cell.account, cell.rules_checked, cell.error.kind) == (None, [], "killed")


def test_what_could_not_be_judged_is_said():
    """A loop that claims nothing has `claim` among the unsupported rules, with a reason."""
    cell = judged(FINE).cells[0]
    assert "claim" in cell.rules_unsupported
    assert "claim" not in cell.rules_checked
    assert set(cell.rules_checked) | set(cell.rules_unsupported) >= {"target", "window", "weight", "plan"}


scenarios = st.fixed_dictionaries(
    {},
    optional={
        "rows": st.integers(1, 2**53),
        "lengths": st.sampled_from(LengthProfile),
        "first_label": st.sampled_from(FirstLabel),
        "loss_protocol": st.sampled_from(LossProtocol),
        "grad_accum": st.integers(1, 10**6),
        "max_steps": st.none() | st.integers(0, 10**9),
        "epochs": st.floats(1e-300, 1e300),
        "drop_last": st.booleans(),
        "shuffle": st.booleans(),
        "learning_rate": st.floats(1e-300, 1e300),
        "max_grad_norm": st.floats(0, 1e300),
        "lr_schedule": st.sampled_from(LrSchedule),
        "optimizer": st.sampled_from(OptimizerName),
        "resume_at": st.none() | st.integers(1, 9),
        "model": st.sampled_from(ModelKind),
        "tier": st.sampled_from(Tier),
    },
)


@given(
    fields=scenarios,
    subject=st.sampled_from(["hf", "unsloth-zoo@2026.10.5", "my trainer's.py:train", "a/b.py:f"]),
)
def test_a_reproduce_line_means_the_same_scenario(fields, subject):
    """Split by the shell's rules and read by the axes' own parser, it gives the scenario and the subject back."""
    try:
        scenario = Scenario(**fields)
    except ScenarioError:
        assume(False)
    words = shlex.split(reproduce_line(subject, scenario))
    assert words[:2] == ["stepaudit", "run"]
    options = list(zip(words[2::2], words[3::2], strict=True))
    assert [value for name, value in options if name == "--subject"] == [subject]
    tier = [value for name, value in options if name == "--tier"]
    axes = parse_axes(value for name, value in options if name == "--axis")
    back = {axis.name: axis.values[0] for axis in axes} | ({"tier": tier[0]} if tier else {})
    assert all(len(axis.values) == 1 for axis in axes)
    assert Scenario(**back) == scenario
