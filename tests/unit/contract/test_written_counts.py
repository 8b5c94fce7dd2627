"""What `target` and `plan` say where totals differ: which update is named, and what was announced where."""

from __future__ import annotations

import pytest
from stepaudit.harness.contract import RULES
from stepaudit.harness.ledger import Claims, Stopped
from written_ledgers import books, one_row_updates, reason


@pytest.mark.parametrize(
    ("asked", "update", "text"),
    [
        (3, 4, "optimizer step 4 ran after the last one, 3"),
        (4, None, "after optimizer step 4 it goes on without a further one"),
        (5, 5, "the ledger ends after optimizer step 4: step 5 never came"),
    ],
)
def test_a_run_that_the_audit_stopped(asked, update, text):
    """Too many updates, as many, too few: each in its own words, and where it was stopped."""
    cell = books([*one_row_updates(4, 4), Stopped(micro_batches=4)], rows=4, max_steps=asked)
    (found,) = RULES["target"].judge(cell)
    assert (found.update, found.text) == (
        update,
        f"{text}; the audit stopped the run after 4 micro-batches",
    )
    assert (found.value, found.due) == (4, asked)
    assert found.event == (cell.observed.done[3].event if asked == 3 else None)


class TestPlan:
    """Announced totals."""

    def test_each_wrong_announcement_is_a_finding(self):
        """Not those that are right."""
        claims = Claims(planned_steps={"state": 4, "banner": 1, "progress bar": 5})
        found = RULES["plan"].judge(books(one_row_updates(4, 4), claims, rows=4, epochs=1.0))
        assert [item.got for item in found] == [
            "1 optimizer step (banner)",
            "5 optimizer steps (progress bar)",
        ]
        assert [(item.value, item.due) for item in found] == [(1, 4), (5, 4)]
        assert found[0].expected == "4 optimizer steps"

    def test_where_nothing_is_announced_or_to_be_trained_there_is_nothing_to_judge(self):
        """No total; no micro-batch; one micro-batch is enough."""
        events = one_row_updates(1, 1)
        assert "announces no total" in reason("plan", books(events, rows=1, epochs=1.0))
        claims = Claims(planned_steps={"state": 7})
        empty = {"rows": 1, "per_device_batch_size": 2, "drop_last": True, "epochs": 1.0}
        assert "nothing to plan" in reason("plan", books([], claims, **empty))
        assert len(RULES["plan"].judge(books(events, claims, rows=1, epochs=1.0))) == 1
