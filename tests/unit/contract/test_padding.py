"""Padding: which reads may fill the last round of an epoch, and which are a row read again."""

from __future__ import annotations

import pytest
from stepaudit.harness.contract import CONTRACTS, padding_due, padding_formula, padding_rows, terms_of
from stepaudit.scenarios import Scenario
from written_ledgers import books, finding, micro_batch, update
from written_ranks import DEALT, SCENARIO, books_of_ranks, findings, record

THREE_ROUNDS = {0: ((0, 1), (4, 5), (8, 3)), 1: ((2, 3), (6, 7), (0, 5))}
"""9 rows on two ranks; rows 3, 0 and 5, of the first and the second round, fill the third"""


@pytest.mark.parametrize(
    ("shape", "contract", "due", "text"),
    [
        ({"rows": 9}, "token-mean", 3, "M·B·R - rows = 3·2·2 - 9 = 3"),
        ({"rows": 8}, "token-mean", 0, "M·B·R - rows = 2·2·2 - 8 = 0"),
        ({"rows": 9, "drop_last": True}, "token-mean", 0, "none with drop_last"),
        ({"rows": 9}, "trl-sft-packing", 6, "2·(M·B·R - sequences) = 2·(2·2·2 - 5) = 6"),
    ],
)
def test_the_places_that_rows_do_not_fill(shape, contract, due, text):
    """M·B·R places less the rows, in rows of packed sequences too; none where the last round is dropped."""
    scenario = Scenario(ranks=2, per_device_batch_size=2, **shape)
    terms = terms_of(scenario, CONTRACTS[contract])
    assert padding_due(scenario, terms, CONTRACTS[contract]) == due
    assert padding_formula(scenario, terms, CONTRACTS[contract]) == text


def test_one_rank_has_no_padding():
    """5 rows in batches of 2 leave a place, and a row that is read again in it is one too many."""
    scenario = Scenario(rows=5, per_device_batch_size=2)
    contract = CONTRACTS["token-mean"]
    assert padding_due(scenario, terms_of(scenario, contract), contract) == 0
    events: list = []
    for number, rows in enumerate(((0, 1), (2, 3), (4, 0))):
        events += [*micro_batch(number, rows), *update(dict.fromkeys(rows, 1 / 8))]
    found = finding("coverage", books(events, rows=5, per_device_batch_size=2, epochs=1.0))
    assert found.got == "row 0 2 times in epoch 1"


def test_padding_may_come_from_any_round_before():
    """What was read in the first round or in the second may fill the third."""
    kept = record(THREE_ROUNDS, SCENARIO.with_(rows=9))
    assert (findings(kept), findings(kept, "coverage")) == ([], [])
    assert padding_rows(books_of_ranks(kept)) == (0, 3, 5)


def test_a_row_that_is_read_again_before_the_last_round_is_no_padding():
    """It is a row on two ranks, although the last round has room for three."""
    dealt = {0: ((0, 1), (4, 0), (8, 3)), 1: ((2, 3), (6, 7), (1, 5))}
    (found,) = findings(
        record({0: dealt[0], 1: ((2, 3), (0, 6), (7, 5))}, SCENARIO.with_(rows=9)), "coverage"
    )
    assert found.got == "row 0 3 times in epoch 1"
    assert padding_rows(books_of_ranks(record(dealt, SCENARIO.with_(rows=9)))) == (1, 3)


def test_the_last_round_is_the_last_of_the_epoch():
    """Where a run ends before it, nothing of what it read is padding."""
    dealt = {0: ((0, 1), (4, 5)), 1: ((2, 3), (6, 0))}
    kept = record(dealt, SCENARIO.with_(rows=9, max_steps=2))
    (found,) = findings(kept)
    assert found.got == "1 row on several ranks in epoch 1: row 0 on ranks 0, 1"
    assert padding_rows(books_of_ranks(kept)) == ()


def test_every_epoch_has_its_own_padding():
    """Rows 0, 1 and 2 fill the first epoch's last round, rows 3 and 4 and 0 the second's."""
    dealt = {0: (*DEALT[0], (3, 4), (2, 3)), 1: (*DEALT[1], (0, 1), (4, 0))}
    kept = record(dealt, SCENARIO.with_(epochs=2.0), an_epoch=2)
    assert (findings(kept), findings(kept, "coverage")) == ([], [])
    assert padding_rows(books_of_ranks(kept)) == (0, 1, 2, 3, 4)


def test_one_read_more_than_there_are_places_is_no_padding():
    """Three places, four rows read again: none of them is excused."""
    (found,) = findings(record({0: ((0, 1), (0, 2)), 1: ((2, 3), (1, 3))}), "coverage")
    assert found.got == "row 0 2 times in epoch 1"
    assert padding_rows(books_of_ranks(record({0: ((0, 1), (0, 2)), 1: ((2, 3), (1, 3))}))) == ()
