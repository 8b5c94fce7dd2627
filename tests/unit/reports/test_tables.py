"""cells.csv and cells.parquet: one row a cell, whole numbers whole, nothing that a spreadsheet runs."""

import csv
import io

import pandas as pd
from stepaudit.reports.tables import cells_frame, csv_text, parquet_bytes


def test_one_row_a_cell(founding):
    """The founding numbers can be selected by scenario columns."""
    frame = cells_frame(founding)
    assert list(frame["id"]) == [cell.id for cell in founding.cells]
    row = frame[(frame["subject"] == "unsloth-zoo@2024.10.0") & (frame["rows"] == 5590)].iloc[0]
    assert (row["observed_optimizer_steps"], row["expected_optimizer_steps"]) == (700, 350)
    assert (row["verdict"], row["status"], row["rules"]) == ("deviates", "new", "target plan")


def test_missing_is_missing(founding):
    """A witness that says nothing gives no number, and the column stays whole."""
    frame = cells_frame(founding)
    assert str(frame["claimed_optimizer_steps"].dtype) == "Int64"
    assert frame.loc[frame["verdict"] == "error", "observed_optimizer_steps"].isna().all()
    assert frame.loc[frame["epochs"].notna(), "max_steps"].isna().sum() == 1


def test_parquet_and_csv_give_the_same_frame(founding):
    """Both files hold the same cells; Parquet keeps the types too."""
    frame = cells_frame(founding)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parquet_bytes(frame))), frame)
    read = pd.read_csv(io.StringIO(csv_text(frame)))
    assert list(read["observed_optimizer_steps"].dropna()) == list(frame["observed_optimizer_steps"].dropna())


def test_hostile_text_is_harmless(hostile):
    """No cell of the CSV begins with what a spreadsheet takes for a formula; both files can be written."""
    frame = cells_frame(hostile)
    parquet_bytes(frame)
    for row in csv.reader(io.StringIO(csv_text(frame))):
        assert not any(cell.startswith(("=", "+", "@")) for cell in row)
    assert "\x00" not in csv_text(frame)


def test_mixed_and_odd_scenario_values(verdicts):
    """A column of several types becomes text; an integer beyond 64 bits does too; a clash of names is kept."""
    base = verdicts.founding_cells()[:2]
    odd = [
        base[0].model_copy(update={"scenario": {"x": 1, "big": 2**70, "id": 5}}),
        base[1].model_copy(update={"scenario": {"x": "one", "big": 1, "id": 6}}),
    ]
    frame = cells_frame(verdicts.verdict_of(odd))
    assert list(frame["x"]) == ["1", "one"]
    assert list(frame["big"]) == [str(2**70), "1"] or frame["big"].dtype == "Float64"
    assert list(frame["scenario_id"]) == [5, 6]
    parquet_bytes(frame)


def test_no_cells(verdicts):
    """An empty run gives empty tables with their columns."""
    frame = cells_frame(verdicts.verdict_of([], stale=[]))
    assert len(frame) == 0
    assert "verdict" in csv_text(frame)
    parquet_bytes(frame)
