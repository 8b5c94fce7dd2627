"""Padding rows: on several ranks the last round of an epoch is filled with rows that were read before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ...scenarios import Scenario
from ..ledger import MicroBatch
from .books import CellBooks
from .contracts import Contract
from .expectation import Terms

__all__ = ["padding_due", "padding_formula", "padding_reads", "padding_rows"]


def padding_due(scenario: Scenario, terms: Terms, contract: Contract) -> int:
    """Return how many reads of an epoch may be padding: the places in M rounds that the rows do not fill."""
    if terms.R == 1 or scenario.drop_last:
        return 0
    return (terms.M * terms.B * terms.R - terms.rows) * contract.rows_per_sequence


def padding_formula(scenario: Scenario, terms: Terms, contract: Contract) -> str:
    """Return the places that padding may fill, e.g. `M·B·R - rows = 3·2·2 - 9 = 3`; in pieces of packed sequences."""
    if scenario.drop_last:
        return "none with drop_last"
    symbols, numbers = "M·B·R - rows", f"{terms.M}·{terms.B}·{terms.R} - {terms.rows}"
    if contract.rows_per_sequence > 1:
        packed = contract.rows_per_sequence
        symbols, numbers = f"{packed}·(M·B·R - sequences)", f"{packed}·({numbers})"
    return f"{symbols} = {numbers} = {padding_due(scenario, terms, contract)}"


def padding_reads(books: CellBooks, rounds: Sequence[MicroBatch]) -> Counter[int]:
    """Return which reads of one epoch are padding: rows read again in its M-th round, if no more than may be.

    Args:
        books: of the cell.
        rounds: the epoch's rounds, in order.
    """
    terms = books.expected.terms
    if len(rounds) != terms.M:
        return Counter()
    before = {row for item in rounds[:-1] for row in item.rows}
    again: Counter[int] = Counter()
    for row in rounds[-1].rows:
        if row in before:
            again[row] += 1
        before.add(row)
    return again if again.total() <= padding_due(books.scenario, terms, books.contract) else Counter()


def padding_rows(books: CellBooks) -> tuple[int, ...]:
    """Return the rows that some epoch of the run read again as padding, in the order of their numbers."""
    rounds: dict[int, list[MicroBatch]] = defaultdict(list)
    for update in books.observed.updates:
        for micro_batch in update.window:
            rounds[micro_batch.epoch].append(micro_batch)
    return tuple(sorted({row for epoch in rounds.values() for row in padding_reads(books, epoch)}))
