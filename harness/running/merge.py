"""Two stores become one: the shards of a sweep, or the same sweep from two machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..ledger import Outcome
from .store import RecordDamagedError, Store

if TYPE_CHECKING:
    from .packed import PackedRecord

__all__ = ["Merged", "merge"]


@dataclass(kw_only=True, slots=True)
class Merged:
    """What a merge did, in cells.

    Attributes:
        added: new here.
        replaced: an error here, a result there.
        same: here already with the same ledger, or with nothing better there.
        differing: results in both with different ledgers; the other one is kept as a repeat.
        damaged: left out because the record does not match its checksum.
    """

    added: int = 0
    replaced: int = 0
    same: int = 0
    differing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def merge(into: Store, other: Store) -> Merged:
    """Add the records and repeats of another store; two different ledgers of one cell are both kept."""
    merged = Merged()
    held = {(packed.cell_id, packed.payload) for packed in into.packed_repeats(on_damage=lambda _: None)}
    for packed in other.packed_records(on_damage=merged.damaged.append):
        _merge_one(into, packed, merged, held)
    for packed in other.packed_repeats(on_damage=merged.damaged.append):
        if (packed.cell_id, packed.payload) not in held:
            into.put_repeat(packed)
    return merged


def _merge_one(into: Store, packed: PackedRecord, merged: Merged, held: set[tuple[str, bytes]]) -> None:
    try:
        ours = into.packed(packed.cell_id)
    except RecordDamagedError:
        into.discard([packed.cell_id])
        ours = None
    if ours is None:
        into.put(packed)
        merged.added += 1
    elif ours.outcome is Outcome.ERROR and packed.outcome is not Outcome.ERROR:
        into.put(packed)
        merged.replaced += 1
    elif packed.outcome is Outcome.ERROR or ours.record().digest() == packed.record().digest():
        merged.same += 1
    else:
        merged.differing.append(packed.cell_id)
        if (packed.cell_id, packed.payload) not in held:
            into.put_repeat(packed)
