"""What `log` says of the values in an entry: which loss, rate and norm are true, on one rank and on several."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.ledger import Backward, Claims, Clipped, EpochBegan, Forward, LogEntry
from written_ledgers import books, finding, micro_batch, one_row_updates, update
from written_ranks import SCENARIO, findings, record


def entry(at: int | None, loss: float | None = -1.0, **values) -> LogEntry:
    """An entry with this loss, and nothing else but what is given."""
    nothing = dict.fromkeys(("epoch", "learning_rate", "grad_norm"))
    return LogEntry(global_step=at, loss=loss, **(nothing | values))


def updates(*given: tuple[list, float], **changes) -> list:
    """Updates of one micro-batch each: its events, and the weight of all its rows."""
    events: list = [EpochBegan(epoch=0)]
    for (forward, backward), weight in given:
        rows = dict.fromkeys(forward.rows, weight)
        events += [forward, backward, *update(rows, **changes)]
    return events


def unseen(number: int, rows: list[int], tokens: list[int], loss: float, divisor: float | None = None):
    """A micro-batch whose scale on the way back was not seen: its weights alone say what was descended."""
    forward, _ = micro_batch(number, rows, tokens, loss=loss)
    return replace(forward, divisor=divisor), Backward(micro_batch=number, scale=None)


def log_finding(events: list, *entries: LogEntry, contract: str = "token-mean", **shape):
    """What is found of a log with these entries."""
    asked = {"rows": 4, "per_device_batch_size": 2, "max_steps": 2, "logging_steps": 1} | shape
    return finding("log", books(events, Claims(log=entries, unread=("logging_steps",)), contract, **asked))


class TestLoss:
    """By the books: every token loss with its weight."""

    @pytest.mark.parametrize(("loss", "holds"), [(2.0, True), (3.0, False), (8.0, False)])
    def test_a_model_that_divides_by_what_it_is_given(self, loss, holds):
        """A loss of 3 that was divided by 16 instead of its own 4 tokens, at 1 / 24 a token: 48 / 24."""
        events = updates((unseen(0, [0], [4], 3.0, divisor=16.0), 1 / 24))
        assert (log_finding(events, entry(1, loss)) is None) is holds
        events = updates((unseen(0, [0], [4], 3.0), 1 / 4))
        assert (log_finding(events, entry(1, loss + 1.0)) is None) is holds

    def test_a_model_that_ignores_what_it_is_given(self):
        """A mean loss is one over its own tokens, whatever it was handed."""
        events = updates((unseen(0, [0], [4], 3.0, divisor=16.0), 1 / 4))
        assert log_finding(events, entry(1, 3.0), loss_protocol="ignored") is None

    def test_a_row_that_was_read_twice_weighs_half_in_each(self):
        """Two micro-batches of the same row, losses 2 and 6: 4 by the token mean of both."""
        events = [EpochBegan(epoch=0), *unseen(0, [0], [4], 2.0), *unseen(1, [0], [4], 6.0)]
        events += update({0: 2 / 8})
        assert log_finding(events, entry(1, 4.0), grad_accum=2) is None
        assert log_finding(events, entry(1, 8.0), grad_accum=2) is not None

    @pytest.mark.parametrize(("off", "is_judged"), [(0.9e-5, True), (1.1e-5, False)])
    def test_rows_that_weigh_alike_say_the_loss_of_their_micro_batch(self, off, is_judged):
        """To 1e-5: beyond that a mean loss does not say the sum."""
        events = [EpochBegan(epoch=0), *unseen(0, [0, 1], [2, 2], 3.0)]
        events += update({0: 0.25, 1: 0.25 * (1 + off)})
        assert (log_finding(events, entry(1, 7.0)) is not None) is is_judged
        assert log_finding(events, entry(1, 3.0)) is None

    @pytest.mark.parametrize("weights", [{}, {0: 0.0}])
    def test_a_loss_of_nothing_is_nothing(self, weights):
        """A row that weighs nothing, written down or not: 0 is logged, and 0 is right."""
        events = [EpochBegan(epoch=0), *unseen(0, [0], [4], 5.0), *update(weights)]
        assert log_finding(events, entry(1, 0.0)) is None
        assert log_finding(events, entry(1, 5.0)).expected == "logged loss 0 at 1"

    @pytest.mark.parametrize(("precision", "is_judged"), [("fp32", True), ("bf16", False), ("fp16", False)])
    def test_weights_by_projection_say_a_loss_in_fp32_only(self, precision, is_judged):
        """They are right to 1e-5 there."""
        events = updates((unseen(0, [0], [4], 3.0), 0.25), residual=0.0)
        real = {"model": "tiny-llama", "tier": "numeric", "precision": precision}
        assert (log_finding(events, entry(1, 7.0), **real) is not None) is is_judged

    def test_the_tracer_is_exact_in_every_precision(self):
        """Its weights are known, not projected."""
        events = updates((unseen(0, [0], [4], 3.0), 0.25))
        assert log_finding(events, entry(1, 7.0), precision="bf16") is not None

    def test_the_scale_of_a_loss_is_part_of_it(self):
        """Where weights are not known, a loss of 3 scaled by a half is one of 1.5."""
        forward, _ = micro_batch(0, [0], [4], loss=3.0)
        events = [EpochBegan(epoch=0), forward, Backward(micro_batch=0, scale=0.5), *update(None)]
        assert log_finding(events, entry(1, 1.5)) is None
        assert log_finding(events, entry(1, 3.0)) is not None
        assert log_finding(events, entry(1, 6.0)) is not None

    def test_an_interval_with_a_loss_that_nobody_saw(self):
        """One of two is unknown: their mean is not judged by the other."""
        silent = replace(micro_batch(0, [0], [4])[0], loss=None)
        events = [EpochBegan(epoch=0), silent, Backward(micro_batch=0, scale=1.0), *update({0: 0.25})]
        events += [*micro_batch(1, [1], [4], loss=-3.0), *update({1: 0.25})]
        assert log_finding(events, entry(2, -9.0)) is None

    @pytest.mark.parametrize(
        ("contract", "loss"), [("fused", -2.5), ("hf-5", -2.0), ("token-mean", -2.0), ("token-mean", -3.0)]
    )
    def test_the_mean_of_an_interval(self, contract, loss):
        """Losses of 1 and 3 over 2 and 6 tokens: over all tokens 2.5, over updates 2; a loop of one's own may log 3."""
        events = updates((unseen(0, [0], [2], -1.0), 1 / 2), (unseen(1, [1], [6], -3.0), 1 / 6))
        assert log_finding(events, entry(2, loss), contract=contract) is None
        assert log_finding(events, entry(2, -2.25), contract=contract) is not None
        if contract != "token-mean":
            assert log_finding(events, entry(2, -3.0), contract=contract) is not None

    def test_an_interval_without_label_tokens(self):
        """No token weighs another down: the losses of the updates are what remains."""
        events = updates((micro_batch(0, [0], [0], loss=2.0), 0.0), (micro_batch(1, [1], [0], loss=4.0), 0.0))
        assert log_finding(events, entry(2, 3.0), contract="fused") is None

    def test_an_update_without_label_tokens_has_no_part_in_the_mean_over_tokens(self):
        """The loss of the other is the mean."""
        events = updates(
            (micro_batch(0, [0], [0], loss=2.0), 0.0), (micro_batch(1, [1], [4], loss=4.0), 0.25)
        )
        assert log_finding(events, entry(2, 4.0), contract="fused") is None
        assert log_finding(events, entry(2, 3.0), contract="fused") is not None

    def test_an_entry_before_the_first_update_says_nothing(self):
        """Nor does a second one after the same update, or one without a loss; the next that does is judged."""
        events = one_row_updates(3, 3)
        entries = (entry(0, 9.0), entry(1), entry(1, 9.0), entry(2, None), entry(3, -5.0), entry(4, 9.0))
        found = log_finding(events, *entries)
        assert (found.update, found.got) == (3, "logged loss -5")
        assert found.formula == "mean over 2 updates of Σ weight·token loss = -1"


class TestRate:
    """The rate of the update itself or, in releases that log so, of the next."""

    def events(self) -> list:
        """Three updates with rates of 0.03, 0.02, 0.01."""
        events: list = [EpochBegan(epoch=0)]
        for number, rate in enumerate((0.03, 0.02, 0.01)):
            events += [*micro_batch(number, [number]), *update({number: 0.25}, rate=rate)]
        return events

    @pytest.mark.parametrize(
        ("contract", "at", "rate", "text"),
        [
            ("hf-5", 2, 0.02, "logged lr = lr of optimizer step 2"),
            ("hf-4.57", 2, 0.02, "logged lr = lr of optimizer step 2"),
            ("hf-4.46", 2, 0.01, "logged lr = lr of optimizer step 3"),
        ],
    )
    def test_the_rate_that_is_promised(self, contract, at, rate, text):
        """It holds; another is shown beside the one that was used."""
        assert log_finding(self.events(), entry(at, learning_rate=rate), contract=contract) is None
        found = log_finding(self.events(), entry(at, learning_rate=0.5), contract=contract)
        assert found.expected == f"logged lr {rate:g} at 2"
        assert found.formula == text
        assert found.text == "optimizer step 2 used lr 0.02, its log entry says 0.5"

    def test_at_the_bound(self):
        """1e-5 of the base rate, beside a rate of 0."""
        events = [*micro_batch(0, [0]), *update({0: 0.25}, rate=0.0)]
        assert log_finding(events, entry(1, learning_rate=1e-5 * 0.01), learning_rate=0.01) is None
        assert log_finding(events, entry(1, learning_rate=1.1e-5 * 0.01), learning_rate=0.01) is not None


class TestNorm:
    """The norm before clipping."""

    def found(self, logged: float, seen: float, *clips: Clipped, limit: float = 0.5):
        """What is found of this norm in the log where that one came to the optimizer."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *clips, *update({0: 0.25}, grad_norm=seen)]
        return log_finding(events, entry(1, grad_norm=logged), max_grad_norm=limit)

    @pytest.mark.parametrize(
        ("logged", "seen", "holds"),
        [
            (2.0, 0.5 / (1 + 0.5e-6), True),  # clipped by the loop's own code from 2 to the limit
            (0.5 / (1 + 0.5e-6), 0.5 / (1 + 0.5e-6), True),
            (2.0, 0.4, False),
            (0.4, 0.4, True),
            (0.4, 0.3, False),
            (float("inf"), 0.5, False),
            (float("nan"), 0.5, False),
        ],
    )
    def test_a_loop_that_clips_by_its_own_code(self, logged, seen, holds):
        """A norm above the limit is right where clipping it gives what was seen; no number but that is."""
        assert (self.found(logged, seen) is None) is holds

    def test_at_the_limit_nothing_was_clipped(self):
        """The norm in the log is the one that was seen, not the one that an epsilon makes of it."""
        assert self.found(0.01, 0.01 * (1 - 1e-4), limit=0.01) is not None

    def test_a_clip_that_was_seen_says_the_norm(self):
        """The one before it; another that would give the same is wrong."""
        clip = Clipped(max_norm=0.5, total_norm=2.0)
        assert self.found(2.0, 0.5, clip) is None
        assert self.found(3.0, 0.5, clip).expected == "logged grad norm 2 at 1"

    def test_without_a_limit_nothing_was_clipped(self):
        """Only what was seen is right."""
        assert self.found(2.0, 0.5, limit=0.0) is not None
        assert self.found(0.5, 0.5, limit=0.0) is None


ONE_ROW_EACH = {0: ((0,), (1,), (2,)), 1: ((3,), (4,), (5,))}


@pytest.mark.parametrize(
    ("contract", "loss", "holds"),
    [
        ("token-mean", -1.75, True),  # of both ranks: (2 + 1) / 2 and (3 + 1) / 2
        ("token-mean", -2.0, True),  # the last of it
        ("token-mean", -2.5, True),  # rank 0's own part
        ("token-mean", -3.0, True),  # the last of it
        ("token-mean", -1.5, False),
        ("token-mean", -1.0, False),
        ("hf-5", -1.75, True),
        ("hf-5", -2.5, False),
        ("hf-5", -3.0, False),
    ],
)
def test_the_loss_over_ranks(contract, loss, holds):
    """Updates 2 and 3, losses of 2 and 3 on rank 0 and of 1 on rank 1: a loop of one's own may log its own part."""
    scenario = SCENARIO.with_(rows=6, per_device_batch_size=1, logging_steps=1)
    kept = record(ONE_ROW_EACH, scenario, contract)
    events = tuple(
        replace(event, loss=-float(event.rows[0] + 1)) if isinstance(event, Forward) else event
        for event in kept.events
    )
    claims = Claims(log=(entry(1, -1.0), entry(3, loss)), unread=("logging_steps",))
    found = findings(replace(kept, events=events, claims=claims), "log")
    assert (found == []) is holds
