"""Records of several ranks written by hand: what each rank read, and what the last of them does in another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepaudit.harness.contract import CONTRACTS, RULES, CellBooks, Findings, draw_up
from stepaudit.harness.ledger import (
    Backward,
    CellRecord,
    Claims,
    EpochBegan,
    Event,
    Forward,
    GradsZeroed,
    OptimizerStep,
    Outcome,
    RankLedger,
    SchedulerStep,
)
from stepaudit.scenarios import Scenario
from stepaudit.scenarios.lengths import LengthProfile

__all__ = [
    "DEALT",
    "SCENARIO",
    "SHARED",
    "TOKENS",
    "books_of_ranks",
    "findings",
    "ledger",
    "record",
    "shared_weights",
]

Dealt = Mapping[int, Sequence[tuple[int, ...]]]
Weights = Sequence[Mapping[int, float] | None]

SCENARIO = Scenario(rows=5, ranks=2, lengths=LengthProfile.EQUAL, lr_schedule="constant", max_grad_norm=0.0)
"""two rounds of two rows a rank; three of the eight places are padding"""
TOKENS = 4
DEALT = {0: ((0, 1), (4, 0)), 1: ((2, 3), (1, 2))}
"""rows of every micro-batch of each rank: rows 0, 1 and 2 fill the last round"""


def ledger(
    windows: Sequence[tuple[int, ...]],
    weights: Weights,
    rate: float = 0.01,
    *,
    an_epoch: int | None = None,
    tokens: Mapping[int, int] | None = None,
) -> tuple[Event, ...]:
    """The events of one rank that makes an update of every micro-batch, `an_epoch` of them an epoch."""
    events: list[Event] = []
    for number, rows in enumerate(windows):
        epoch, within = divmod(number, an_epoch or len(windows))
        counts = tuple((tokens or {}).get(row, TOKENS) for row in rows)
        if epoch and not within:
            events.append(EpochBegan(epoch=epoch))
        events += [
            Forward(
                micro_batch=number,
                rows=rows,
                epoch=epoch,
                label_tokens=counts,
                input_tokens=sum(counts) + len(rows),
                divisor=None,
                loss=-1.0,
            ),
            Backward(micro_batch=number, scale=1.0),
            OptimizerStep(learning_rates=(rate,), grad_norm=0.5, weights=weights[number], suppressed=False),
            SchedulerStep(learning_rates=(rate,)),
            GradsZeroed(),
        ]
    return tuple(events)


def shared_weights(dealt: Dealt, tokens: Mapping[int, int] | None = None) -> list[dict[int, float]]:
    """The token mean of every round, as all ranks must see it."""
    weights = []
    for rounds in zip(*dealt.values(), strict=True):
        rows = [row for part in rounds for row in part]
        total = sum((tokens or {}).get(row, TOKENS) for row in rows)
        weights.append({row: rows.count(row) / total for row in rows})
    return weights


def record(
    dealt: Dealt | None = None,
    scenario: Scenario = SCENARIO,
    contract: str = "token-mean",
    *,
    an_epoch: int | None = None,
    tokens: Mapping[int, int] | None = None,
    shared: Weights | None = None,
    **of_last_rank,
) -> CellRecord:
    """A correct run, but for what the last rank does in another way."""
    dealt = DEALT if dealt is None else dealt
    shared = shared_weights(dealt, tokens) if shared is None else shared
    last = max(dealt)

    def of_rank(rank: int) -> RankLedger:
        did = {"windows": dealt[rank], "weights": shared, "distance": 0.0, "rate": 0.01}
        did |= {"claims": len(dealt[rank])} | (of_last_rank if rank == last else {})
        return RankLedger(
            rank=rank,
            events=ledger(did["windows"], did["weights"], did["rate"], an_epoch=an_epoch, tokens=tokens),
            claims=Claims(global_step=did["claims"]),
            parameter_distance=did["distance"],
        )

    return CellRecord(
        cell_id="c",
        scenario=scenario,
        subject="s",
        contract=contract,
        versions={},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=ledger(dealt[0], shared, an_epoch=an_epoch, tokens=tokens),
        claims=Claims(global_step=len(dealt[0])),
        others=tuple(of_rank(rank) for rank in range(1, last + 1)),
    )


def books_of_ranks(kept: CellRecord) -> CellBooks:
    """Its books under its own contract."""
    return draw_up(kept, CONTRACTS[kept.contract])


def findings(kept: CellRecord, rule: str = "ranks") -> Findings:
    """What the rule says of the record."""
    return RULES[rule].judge(books_of_ranks(kept))


SHARED = shared_weights(DEALT)
