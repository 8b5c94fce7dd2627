"""`cells.csv` and `cells.parquet`: one row a cell, scenario, figures and verdict as columns."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .status import cell_status
from .text import printable, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from ..harness.judging.verdict import CellVerdict, Figures, Verdict

__all__ = ["cells_frame", "csv_text", "parquet_bytes"]

_FIGURES = (
    "optimizer_steps",
    "micro_batches",
    "scheduler_steps",
    "skipped_steps",
    "epochs",
    "label_tokens",
    "planned_steps",
)
_RISKY = ("=", "+", "-", "@", "\t")
_ACCOUNTS = ("expected", "observed", "claimed", "reference")


def cells_frame(verdict: Verdict) -> pd.DataFrame:
    """Return a frame with one row a cell, in the order of the verdict.

    Columns: `id`, `subject`, `contract`, `verdict`, `status`, `rules` (those it breaks), `label`, the
    scenario's fields by their names, `expected_…`, `observed_…`, `claimed_…`, `reference_…` figures,
    `seconds`, `reason`, `error`, `reproduce`. A figure that a witness does not give is missing, never 0;
    whole numbers stay whole numbers.
    """
    import pandas as pd

    cells = verdict.cells
    columns: dict[str, Any] = {}

    def text(name: str, read: Callable[[CellVerdict], str]) -> None:
        columns[name] = pd.array([shortened(printable(read(cell)), 2000) for cell in cells], dtype="string")

    text("id", lambda cell: cell.id)
    text("subject", lambda cell: cell.subject)
    text("contract", lambda cell: cell.contract)
    text("verdict", lambda cell: cell.verdict.value)
    text("status", lambda cell: cell_status(cell).key)
    text("rules", lambda cell: " ".join(dict.fromkeys(deviation.rule for deviation in cell.deviations)))
    text("label", lambda cell: cell.label)
    for field in dict.fromkeys(field for cell in cells for field in cell.scenario):
        name = printable(field)
        columns[name if name not in columns else f"scenario_{name}"] = _column(
            [cell.scenario.get(field) for cell in cells]
        )
    for account in _ACCOUNTS:
        books: list[Figures | None] = [
            getattr(cell.account, account) if cell.account else None for cell in cells
        ]
        for figure in _FIGURES:
            values = [getattr(figures, figure) if figures else None for figures in books]
            columns[f"{account}_{figure}"] = (
                pd.array(values, dtype="Float64") if figure == "epochs" else pd.array(values, dtype="Int64")
            )
    columns["seconds"] = pd.array([cell.seconds for cell in cells], dtype="Float64")
    text("reason", lambda cell: cell.reason)
    text("error", lambda cell: f"{cell.error.kind}: {cell.error.message}" if cell.error else "")
    text("reproduce", lambda cell: cell.reproduce)
    return pd.DataFrame(columns)


def csv_text(frame: pd.DataFrame) -> str:
    """Return the frame as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    shown = frame.rename(columns=lambda name: f"'{name}" if name.startswith(_RISKY) else name)
    for name in shown.columns[[str(kind) == "string" for kind in shown.dtypes]]:
        risky = shown[name].str.startswith(_RISKY, na=False)
        shown[name] = shown[name].where(~risky, "'" + shown[name])
    return shown.to_csv(index=False, lineterminator="\n")


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return the frame as Parquet."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _column(values: list[Any]) -> Any:
    """Return scenario values as a typed column; a mixture becomes text, so that Parquet can hold it."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pd.array(values, dtype="boolean")
    if kinds <= {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pd.array(values, dtype="Int64")
    if kinds <= {int, float}:
        return pd.array([None if value is None else float(value) for value in values], dtype="Float64")
    shown = [None if value is None else shortened(printable(str(value)), 2000) for value in values]
    return pd.array(shown, dtype="string")
