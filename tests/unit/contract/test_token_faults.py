"""Packing and token counts: every seeded fault of the family breaks its rule; a loop that packs rightly breaks none."""

from __future__ import annotations

import pytest
from cell_runs import books_of, broken_rules
from stepaudit.scenarios import Scenario
from stepaudit.scenarios.faults import FAULTS, Family

FAMILY = {name: fault for name, fault in FAULTS.items() if fault.family is Family.TOKENS}
SHAPE = {
    "rows": 14,
    "per_device_batch_size": 4,
    "grad_accum": 3,
    "epochs": 2.0,
    "eval_steps": 2,
    "shuffle": False,
}


@pytest.mark.parametrize("lengths", ["ragged", "equal"])
@pytest.mark.parametrize("first_label", ["counted", "masked"])
def test_packed_rows_are_no_fault(lengths, first_label):
    """The rows of a micro-batch in one sequence, borders masked: every row is seen and weighs what it should."""
    books = books_of("unusual@packs-rows", Scenario(**SHAPE, lengths=lengths, first_label=first_label))
    assert broken_rules(books) == {}


@pytest.mark.parametrize("name", FAMILY)
def test_every_fault_of_the_family_breaks_its_rule(name):
    """One scenario with ragged rows, a short micro-batch and evaluations shows them all."""
    broken = broken_rules(books_of(f"fault@{name}", Scenario(**SHAPE)))
    assert FAMILY[name].rule in broken


def test_a_row_without_its_labels_is_named():
    """The weights of the others are those of the label tokens that are left: only the row itself shows it."""
    broken = broken_rules(books_of("fault@last-row-unlabelled", Scenario(**SHAPE, lengths="equal")))
    (finding,) = broken["weight"]
    assert (finding.expected, finding.got) == ("4 label tokens of row 3 in the loss", "none")
    assert "without its labels" in finding.text


def test_padding_that_is_trained_on_is_no_label_token():
    """It counts in no window, so that the divisor is seen to be too large and the padding's gradient to be foreign."""
    broken = broken_rules(books_of("fault@padding-is-labelled", Scenario(**SHAPE)))
    assert {"weight", "leak"} <= set(broken)
    assert broken["weight"][0].value < 1
