"""What the rule `ranks` says where ranks part: the numbers, event and update of each finding; every bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.contract import Finding
from stepaudit.harness.ledger import Clipped, Forward, OptimizerStep
from written_ranks import DEALT, SCENARIO, SHARED, findings, ledger, record

THREE = {0: ((0, 1), (6, 7)), 1: ((2, 3), (8, 9)), 2: ((4, 5), (10, 11))}
"""twelve rows on three ranks, nothing left over"""
SCENARIO_OF_THREE = SCENARIO.with_(rows=12, ranks=3)


def events_of(kept, kind) -> list[int]:
    """Positions of the events of a kind in rank 0's ledger."""
    return [at for at, event in enumerate(kept.events) if isinstance(event, kind)]


class TestUpdates:
    """As many on every rank."""

    def test_a_rank_that_makes_fewer(self):
        """The first that it lacks is named, with its place on rank 0."""
        kept = record(windows=DEALT[1][:1], weights=SHARED[:1], claims=1)
        (found,) = findings(kept)
        assert (found.expected, found.got) == ("2 optimizer steps on every rank", "1 on rank 1")
        assert found.text == "optimizer step 2 is made on rank 0 and not on rank 1"
        assert (found.update, found.event) == (2, events_of(kept, OptimizerStep)[1])
        assert (found.value, found.due) == (1, 2)

    def test_a_rank_that_makes_more(self):
        """It is not in rank 0's ledger: there is no event to name."""
        (found,) = findings(record(windows=(*DEALT[1], (3, 4)), weights=[*SHARED, {}], claims=3))
        assert found.text == "optimizer step 3 is made on rank 1 and not on rank 0"
        assert (found.update, found.event) == (3, None)
        assert (found.value, found.due) == (3, 2)

    def test_the_third_rank_is_looked_at_too(self):
        """Whatever the second does."""
        assert findings(record(THREE, SCENARIO_OF_THREE)) == []
        kept = record(THREE, SCENARIO_OF_THREE, windows=THREE[2][:1], claims=1)
        assert findings(kept)[0].got == "1 on rank 2"


class TestRows:
    """Dealt out, each to one rank."""

    def test_a_row_twice_on_one_rank_is_another_rule(self):
        """Coverage sees it; no two ranks share it."""
        dealt = {0: ((0, 1), (0, 5)), 1: ((2, 3), (6, 7))}
        assert findings(record(dealt, SCENARIO.with_(rows=8))) == []
        assert findings(record(dealt, SCENARIO.with_(rows=8)), "coverage") != []

    def test_without_room_for_padding_nothing_is_said_of_it(self):
        """One row on two ranks: numbers, and the place where rank 0 reads it."""
        kept = record({0: ((0, 1), (4, 5)), 1: ((2, 5), (6, 3))}, SCENARIO.with_(rows=8))
        (found,) = findings(kept)
        assert found.expected == "each row on one rank in an epoch"
        assert found.got == "1 row on several ranks in epoch 1: row 5 on ranks 0, 1"
        assert found.formula == "reads of a row over all ranks = 1 an epoch; padding in the last round = 0"
        assert (found.value, found.due, found.update) == (1, 0, None)
        assert found.event == events_of(kept, Forward)[1]

    @pytest.mark.parametrize("rows", [9, 10])
    def test_drop_last_has_no_padding_to_speak_of(self, rows):
        """The rows that are left out are no places."""
        scenario = SCENARIO.with_(rows=rows, drop_last=True)
        (found,) = findings(record({0: ((0, 1), (4, 5)), 1: ((2, 3), (6, 0))}, scenario))
        assert found.expected == "each row on one rank in an epoch"

    def test_with_room_for_padding_its_places_are_named(self):
        """Of the rows that both ranks read, padding excuses row 4 and some reads of row 0."""
        (found,) = findings(record({0: ((0, 1), (4, 0)), 1: ((0, 1), (4, 0))}))
        assert found.expected == "each row on one rank in an epoch, but for 3 reads of padding"
        assert found.got == "2 rows on several ranks in epoch 1: row 0 on ranks 0, 1"
        assert found.formula.endswith("padding in the last round = M·B·R - rows = 2·2·2 - 5 = 3")

    def test_the_epoch_is_the_one_in_which_it_is_shared(self):
        """The second: row 0 is read by one rank in the first, and the event is of the second."""
        dealt = {0: ((0, 1), (4, 5), (2, 0), (3, 5)), 1: ((2, 3), (6, 7), (0, 1), (6, 7))}
        kept = record(dealt, SCENARIO.with_(rows=8, epochs=2.0), an_epoch=2)
        (found,) = findings(kept)
        assert found.got == "1 row on several ranks in epoch 2: row 0 on ranks 0, 1"
        assert found.event == events_of(kept, Forward)[2]


class TestGradients:
    """The same weights on every rank."""

    @pytest.mark.parametrize(("off", "holds"), [(0.5e-9, True), (2e-9, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    def test_weights_agree_to_their_sums(self, off, holds, side):
        """1e-9 of rank 0's, on either side."""
        weights = [SHARED[0], {row: weight * (1 + side * off) for row, weight in SHARED[1].items()}]
        assert (findings(record(weights=weights)) == []) is holds

    def test_a_row_that_only_another_rank_has(self):
        """It weighs nothing on rank 0."""
        (found,) = findings(record(weights=[SHARED[0], SHARED[1] | {3: 0.25}]))
        assert found.got == "row 3 weighs 0 on rank 0 and 0.25 on rank 1"
        assert found.update == 2

    def test_a_weight_of_nothing_is_no_weight(self):
        """Written down or not."""
        assert findings(record(weights=[SHARED[0] | {4: 0.0}, SHARED[1]])) == []

    def test_updates_without_books_are_not_compared(self):
        """On either side; the one after them is."""
        wrong = {row: weight / 2 for row, weight in SHARED[1].items()}
        assert findings(record(weights=[None, SHARED[1]])) == []
        assert findings(record(shared=[None, SHARED[1]], weights=SHARED)) == []
        assert findings(record(weights=[None, wrong]))[0].update == 2


@pytest.mark.parametrize(("distance", "holds"), [(1e-9, True), (2e-9, False)])
def test_parameters_agree_to_rounding(distance, holds):
    """1e-9 is the bound, and 0 what is due."""
    found = findings(record(distance=distance))
    assert (found == []) is holds
    assert holds or (found[0].value, found[0].due) == (distance, 0.0)


ONE_ROUND = {0: ((0, 1),), 1: ((2,),)}


class TestWeightsOverRanks:
    """What rule `weight` says was done over ranks, and what it does not."""

    def found(self, weights: dict[int, float], contract: str = "token-mean") -> Finding:
        """The finding of a round with rows 0 and 1 on rank 0 and row 2 on rank 1."""
        scenario = SCENARIO.with_(rows=3)
        kept = record(ONE_ROUND, scenario, contract, shared=[weights])
        (found,) = findings(kept, "weight")
        return found

    def test_summed_over_ranks(self):
        """Each weighs R times what it should."""
        found = self.found(dict.fromkeys(range(3), 2 / 12))
        assert found.text.endswith("= 1 / 6: summed over 2 ranks, not averaged")
        assert (found.value, found.due) == (2.0, 1.0)

    def test_averaged_twice(self):
        """Each weighs 1 / R of what it should."""
        found = self.found(dict.fromkeys(range(3), 0.5 / 12))
        assert found.text.endswith("= 1 / 24: averaged over 2 ranks once too often")

    @pytest.mark.parametrize("factor", [2, 0.5])
    def test_all_rows_must_say_it(self, factor):
        """One row that is right, and nothing is said of ranks, nor of causes on one rank."""
        found = self.found({0: factor / 12, 1: 1 / 12, 2: factor / 12})
        assert found.text.endswith(f"= 1 / {12 / factor:g}")

    def test_a_row_that_is_missing_weighs_nothing(self):
        """Not what the others weigh."""
        dealt, tokens = {0: ((0,),), 1: ((1,),)}, {0: 1, 1: 1}
        (found,) = findings(record(dealt, SCENARIO.with_(rows=2), tokens=tokens, shared=[{0: 1.0}]), "weight")
        assert found.text.endswith("each label token of row 0 weighs 1 = 1 / 1")

    def test_a_clip_is_undone_before_ranks_are_looked_at(self):
        """Summed over ranks and clipped to a half."""
        clip = Clipped(max_norm=1.0, total_norm=2.0 - 1e-6)
        scenario = SCENARIO.with_(rows=3, max_grad_norm=1.0)
        kept = record(ONE_ROUND, scenario, shared=[dict.fromkeys(range(3), 1 / 12)])
        kept = replace(kept, events=(*kept.events[:2], clip, *kept.events[2:]))
        (found,) = findings(kept, "weight")
        assert found.text.endswith("summed over 2 ranks, not averaged")

    @pytest.mark.parametrize(
        ("row", "weight", "says"),
        [
            (0, 1 / 16, "1 / (8 label tokens of rank 0 · 2 ranks), each rank divides by its own tokens"),
            (2, 1 / 8, "1 / (4 label tokens of rank 1 · 2 ranks), each rank divides by its own tokens"),
            (2, 1 / 16, "each label token of row 2 weighs 0.0625 = 1 / 16"),
            (0, 1 / 8, "each label token of row 0 weighs 0.125 = 1 / 8"),
        ],
    )
    def test_the_tokens_of_a_rows_own_rank(self, row, weight, says):
        """Those of its own rank explain a weight, those of the other do not."""
        weights = dict.fromkeys(range(3), 1 / 12) | {row: weight}
        assert self.found(weights).text.endswith(says)

    @pytest.mark.parametrize(
        ("contract", "formula"),
        [
            ("token-mean", "1 / N = 1 / 12 over 2 ranks"),
            ("fabric", "1 / (n·W·R) = 1 / (8·1·2)"),
            ("accelerate-once", "1 / (n·A·R) = 1 / (8·1·2)"),
            ("hf-5-own-tokens", "1 / (N_r·R) = 1 / (8·2)"),
        ],
    )
    def test_the_formula_of_a_round(self, contract, formula):
        """Of the rank that read the row."""
        assert self.found(dict.fromkeys(range(3), 1.0), contract=contract).formula == formula


def test_a_row_that_was_read_twice_is_said_so():
    """Padding in the window of its first read: it weighs twice."""
    scenario = SCENARIO.with_(rows=3)
    dealt = {0: ((0, 1),), 1: ((2, 0),)}
    kept = record(dealt, scenario)
    assert findings(kept, "weight") == []
    kept = replace(kept, events=ledger(dealt[0], [dict.fromkeys(range(3), 1 / 16)]))
    (found,) = findings(kept, "weight")
    assert found.formula == "1 / N = 1 / 16 over 2 ranks, read 2 times"
