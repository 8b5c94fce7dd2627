"""Which rows share a sequence: best fit, longest row first.

Packing happens once, before shuffling, so that the number of packs, and with it the number of updates and the
length of the schedule, is known before the run begins and counts what is trained on (trl #943 counted
unpacked rows).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def pack_rows(lengths: Sequence[int], *, max_length: int) -> list[list[int]]:
    """Put rows into packs of at most ``max_length`` tokens.

    Best fit: each row, longest first, goes to the fullest pack that still takes it; ties go to the pack that
    got there first. Every row is in exactly one pack, and the result depends on the lengths only.

    Args:
        lengths: Tokens of each row, each at most ``max_length``.
        max_length: Tokens of a full pack.

    Returns:
        Row numbers of each pack, ascending, packs ordered by their first row.

    Raises:
        ValueError: A row is longer than a pack.
    """
    too_long = [at for at, length in enumerate(lengths) if length > max_length]
    if too_long:
        raise ValueError(
            f"row {too_long[0]} has {lengths[too_long[0]]} tokens, more than max_length={max_length}"
        )
    packs: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(max_length + 1)]
    for row in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        room = next((room for room in range(lengths[row], max_length + 1) if by_room[room]), None)
        if room is None:
            packs.append([])
            pack, room = len(packs) - 1, max_length
        else:
            pack = by_room[room].pop(0)
        packs[pack].append(row)
        by_room[room - lengths[row]].append(pack)
    return sorted(sorted(pack) for pack in packs)
