"""What `curve` and `params` say beside replays written by hand: every bound, and which update or parameter is named."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from stepaudit.harness.contract import CellBooks, Finding, Reduction
from stepaudit.harness.contract.books import reference_run
from stepaudit.harness.ledger import Curves, ParameterDistance, Replay
from written_ledgers import books, finding, one_row_updates, reason

RATES = (0.01, 0.01, 0.01)
LOSSES = (-1.0, -1.0, -1.0)
NORMS = (1.0, 1.0, 1.0)
WIDTH = 2.0**-10
"""half an envelope's width, of losses and norms"""
UNIT = 2.0**-24


def curves(losses=LOSSES, norms=NORMS, rates=RATES) -> Curves:
    """One value an update."""
    return Curves(losses=losses, grad_norms=norms, learning_rates=rates)


def parameter(name: str, **distances: float) -> ParameterDistance:
    """A parameter of norm 0 that was not moved and is where it should be, but for what is given."""
    nothing = dict.fromkeys(("norm", "moved", "own", "subject"), 0.0)
    return ParameterDistance(name=name, elements=1, **(nothing | distances))


def cell(subject: Curves | None = None, *parameters: ParameterDistance, count: int = 3, **shape) -> CellBooks:
    """Updates of one row each, beside a replay that they agree with, but for what is given."""
    asked = {"rows": 3, "max_steps": count, "model": "tiny-llama", "tier": "numeric"}
    replay = Replay(
        precision="float32",
        epsilon=2.0**-23,
        updates=count,
        complete=True,
        subject=subject or curves(),
        exact=curves(),
        own=curves(),
        envelope=curves((WIDTH,) * 3, (WIDTH,) * 3, (0.0,) * 3),
        parameters=parameters,
    )
    return replace(books(one_row_updates(count, 3), **(asked | shape)), replay=replay)


def put(values: tuple, at: int, value: float | None) -> tuple:
    """The same values with another one for an update, counted from 1."""
    return (*values[: at - 1], value, *values[at:])


class TestCurve:
    """Every update against the float64 replay."""

    @pytest.mark.parametrize(("share", "holds"), [(0.0, True), (8.0, True), (8.5, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    @pytest.mark.parametrize("curve", ["losses", "norms"])
    def test_a_value_may_be_eight_envelopes_off(self, curve, share, holds, side):
        """On either side, the bound included."""
        values = {"losses": LOSSES, "norms": NORMS}[curve]
        moved = put(values, 2, values[1] + side * share * WIDTH)
        found = finding("curve", cell(curves(**{curve: moved})))
        assert (found is None) is holds
        assert found is None or found.got.endswith("8.5 times the envelope away")

    @pytest.mark.parametrize(("off", "holds"), [(0.5e-12, True), (2e-12, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    def test_a_rate_has_no_envelope(self, off, holds, side):
        """1e-12 of the base."""
        found = finding("curve", cell(curves(rates=put(RATES, 3, 0.01 * (1 + side * off)))))
        assert (found is None) is holds
        assert found is None or (found.update, found.event) == (3, cell().observed.done[2].event)

    def test_the_first_update_that_parts_is_named(self):
        """Whatever curve it is in."""
        wrong = curves(put(LOSSES, 3, 9.0), put(NORMS, 2, 9.0), put(RATES, 3, 9.0))
        found = finding("curve", cell(wrong))
        assert found.update == 2
        assert found.text == "gradient norm of optimizer step 2 against the float64 replay of its windows"
        assert found.expected == f"gradient norm 1 ± {8 * WIDTH:.2g}"
        assert found.got == f"gradient norm 9, {8 / WIDTH:.3g} times the envelope away"
        assert found.formula == (
            f"|gradient norm - 1| ≤ 8 · {WIDTH:.3g}, the rounding noise of this run so far"
        )

    def test_a_value_that_is_missing(self):
        """The first update without it is named; a loss that is never there is none that was promised."""
        found = finding("curve", cell(curves((-1.0, None, None))))
        assert found.expected == "a loss at every update, as the float64 replay of its windows has"
        assert (found.got, found.update) == ("none at update 2", 2)
        assert found.formula == "the set of updates is the same; NaN equals nothing"
        assert found.text == "optimizer step 2 has no such value"
        assert finding("curve", cell(curves((None, None, None)))) is None
        assert finding("curve", cell(curves(norms=(None, None, None)))) is not None

    def test_losses_that_nobody_has_do_not_end_the_search(self):
        """Norms are compared all the same."""
        assert finding("curve", cell(curves((None, None, None), put(NORMS, 1, 9.0)))).update == 1

    def test_an_envelope_that_is_no_number_holds_nothing(self):
        """None or NaN."""
        for width in (None, math.nan):
            spoilt = cell()
            envelope = curves((WIDTH, width, WIDTH), (WIDTH,) * 3, (0.0,) * 3)
            spoilt = replace(spoilt, replay=replace(spoilt.replay, envelope=envelope))
            found = finding("curve", spoilt)
            assert (found.update, found.got) == (2, "loss -1, beyond the envelope away")

    def test_a_norm_that_a_loop_has_clipped_is_not_the_replays(self):
        """max_grad_norm came to the optimizer, and no clip was seen: the norm of the replay says nothing."""
        assert finding("curve", cell(curves(norms=(9.0, 9.0, 9.0)), max_grad_norm=1.0)) is None
        assert finding("curve", cell(curves(norms=(9.0, 9.0, 9.0)), max_grad_norm=2.0)) is not None

    def test_the_other_updates_are_compared_beside_a_clipped_one(self):
        """The first came clipped to the limit, the second as it was, and wrong."""
        clipped = cell(curves(norms=(9.0, 9.0, 9.0)), max_grad_norm=1.0)
        first, *rest = clipped.observed.updates
        rest = [replace(update, grad_norm=0.5) for update in rest]
        clipped = replace(clipped, observed=replace(clipped.observed, updates=(first, *rest)))
        assert finding("curve", clipped).update == 2

    def test_updates_behind_the_target_have_no_replay(self):
        """A run that goes on is compared as far as it was replayed."""
        longer = replace(cell(), observed=books(one_row_updates(4, 4), rows=4).observed)
        assert finding("curve", longer) is None

    def test_a_record_with_curves_of_other_lengths_is_refused(self):
        """It is not cut to the shorter one."""
        with pytest.raises(ValueError, match="longer"):
            finding("curve", cell(curves(LOSSES[:2])))
        short = cell()
        envelope = replace(short.replay.envelope, losses=(WIDTH,) * 2)
        with pytest.raises(ValueError, match="shorter"):
            finding("curve", replace(short, replay=replace(short.replay, envelope=envelope)))

    def test_without_a_replay_or_an_update_there_is_nothing_to_compare(self):
        """The reason says which; one update is enough."""
        assert "no replay" in reason("curve", replace(cell(), replay=None))
        assert "no replay" in reason("params", replace(cell(), replay=None))
        empty = cell()
        assert "no optimizer step" in reason("curve", replace(empty, replay=replace(empty.replay, updates=0)))
        single = cell(count=1)
        short = Curves(losses=(-1.0,), grad_norms=(1.0,), learning_rates=(0.01,))
        zero = Curves(losses=(0.0,), grad_norms=(0.0,), learning_rates=(0.0,))
        replay = replace(single.replay, subject=short, exact=short, own=short, envelope=zero)
        assert finding("curve", replace(single, replay=replay)) is None


class TestBesideTheReference:
    """The run against the reference's, where both saw the same rows."""

    def found(self, losses=LOSSES, norms=NORMS, lost: tuple[int, ...] = (), **changes) -> Finding | None:
        """What is found beside a reference with these curves; the run's own losses of some updates are not known."""
        own = cell()
        updates = [
            replace(update, window=(replace(update.window[0], loss=None),))
            if update.index in lost
            else update
            for update in own.observed.updates
        ]
        own = replace(own, observed=replace(own.observed, updates=tuple(updates)))
        beside = replace(reference_run(own), curves=curves(losses, norms), **changes)
        return finding("curve", replace(own, reference=beside))

    @pytest.mark.parametrize(("share", "holds"), [(16.0, True), (16.5, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    @pytest.mark.parametrize("curve", ["losses", "norms"])
    def test_both_may_be_eight_envelopes_off(self, curve, share, holds, side):
        """Together sixteen."""
        values = {"losses": LOSSES, "norms": NORMS}[curve]
        found = self.found(**{curve: put(values, 2, values[1] + side * share * WIDTH)})
        assert (found is None) is holds
        assert found is None or found.update == 2
        assert found is None or found.got.endswith("16.5 times the envelope away")

    def test_other_rows_or_other_weights_are_not_compared(self):
        """Nor a run of which only a part was replayed."""
        wrong = (9.0, 9.0, 9.0)
        assert self.found(wrong) is not None
        assert self.found(wrong, rows=(((0,),), ((2,),), ((1,),))) is None
        assert self.found(wrong, rows=(((0,),), ((1,),))) is None
        assert self.found(wrong, reduction=Reduction.MEAN_OF_MEANS) is None
        own = cell()
        beside = replace(reference_run(own), curves=curves(wrong))
        part = replace(own.replay, updates=2)
        assert finding("curve", replace(own, replay=part, reference=beside)) is None

    def test_a_curve_that_the_reference_has_not_is_not_compared(self):
        """The other one is."""
        nothing = (None, None, None)
        assert self.found(nothing) is None
        assert self.found(nothing, put(NORMS, 3, 9.0)).update == 3
        assert self.found(put(LOSSES, 3, 9.0), nothing).update == 3

    def test_a_loss_that_one_of_them_lacks(self):
        """Where the reference has none it is not compared; where the run lacks one it is a finding."""
        assert self.found((None, -1.0, 9.0)).update == 3
        assert self.found(lost=(1,)).got == "none at update 1"
        assert self.found((9.0, 9.0, 9.0), lost=(1, 2, 3)) is None

    def test_what_parts_from_the_replay_is_said_first(self):
        """The reference is no more than a second opinion."""
        wrong = cell(curves(put(LOSSES, 3, 9.0)))
        beside = replace(reference_run(wrong), curves=curves((9.0, 9.0, 9.0)))
        assert "float64 replay" in finding("curve", replace(wrong, reference=beside)).text


class TestParameters:
    """Where every parameter ends."""

    @pytest.mark.parametrize(
        ("distances", "bound"),
        [
            ({"own": 2.0**-10}, 8 * 2.0**-10),
            ({"norm": 3.0}, 8 * 4 * UNIT * 3.0),
            ({"norm": 3.0, "own": 2.0**-40}, 8 * 4 * UNIT * 3.0),
        ],
    )
    def test_the_bound_of_a_parameter(self, distances, bound):
        """Eight times its rounding distance, or what storing it rounds; included."""
        for share, holds in ((1.0, True), (1.01, False)):
            found = finding("params", cell(None, parameter("a", subject=share * bound, **distances)))
            assert (found is None) is holds
            assert found is None or found.got == f"{1.01 * bound:.3g} away, 8.08 times the rounding distance"

    @pytest.mark.parametrize(("share", "holds"), [(0.99, True), (1.01, False)])
    def test_noise_comes_through_the_others(self, share, holds):
        """Moved by 3 and 4, distances of 0 and 1: a fifth of each way may be rounding, so 8 · 3 / 5 of the first."""
        still = parameter("still", moved=3.0, subject=share * 8 * 3 / 5)
        noisy = parameter("noisy", moved=4.0, own=1.0)
        assert (finding("params", cell(None, still, noisy)) is None) is holds

    def test_the_worst_is_named_by_its_own_measure(self):
        """Not the one that is farthest away; all are counted."""
        far = parameter("far", own=1.0, subject=9.0)
        near = parameter("near", own=0.01, subject=1.0, moved=0.0)
        found = finding("params", cell(None, far, near, parameter("right")))
        assert found.expected == "near within 0.08 of the float64 replay"
        assert found.text == "2 of 3 parameters end elsewhere after 3 updates; training moved near by 0"
        assert (found.update, found.event) == (3, cell().observed.done[-1].event)

    def test_a_parameter_that_had_no_reason_to_move_is_worse_than_any(self):
        """Nothing is allowed to one that is 0 and stays so: that is no division by nothing."""
        frozen = parameter("frozen", subject=1e-9)
        found = finding("params", cell(None, parameter("far", own=1e-3, subject=1.0), frozen))
        assert found.expected.startswith("frozen within 0 ")
        assert found.got == "1e-09 away, beyond the rounding distance"

    def test_a_run_without_updates_has_no_event(self):
        """Its parameters are compared all the same."""
        empty = cell(None, parameter("a", subject=1.0))
        empty = replace(empty, observed=books([], rows=3).observed)
        assert finding("params", empty).event is None

    def test_what_cannot_be_compared(self):
        """A replay of a part, and a model that was rebuilt."""
        whole = cell(None, parameter("a"))
        assert finding("params", whole) is None
        part = replace(whole, replay=replace(whole.replay, complete=False))
        assert "goes on after optimizer step 3" in reason("params", part)
        assert "rebuilt the model" in reason("params", cell())


def test_the_books_own_curves_are_read_beside_the_replay():
    """Where a ledger leaves two readings, the replay's losses say which; without one there is none to ask."""
    assert cell().curves == curves()
    assert replace(cell(), replay=None).curves == curves()
