"""Subject × parameter: every judged cell is counted once in every block, and the telling parameter comes first."""

import pytest
from stepaudit.reports.heat import MOST_VALUES, heat_of
from stepaudit.scenarios import Scenario


def grid(verdicts, fails):
    """Return a run over accumulation and rows in which `fails(scenario)` says what deviates."""
    cells = []
    for number, (rows, accum) in enumerate((rows, accum) for rows in range(1, 31) for accum in (1, 2, 4)):
        point = Scenario(rows=rows, grad_accum=accum, max_steps=8)
        make = verdicts.overrun if fails(point) else None
        cells.append(make("plain", point, number, 16, 40) if make else verdicts.cell("plain", point, number))
    return verdicts.verdict_of(cells, stale=[])


def test_the_telling_parameter_comes_first(verdicts):
    """Where the accumulation decides alone, its block is first and explains everything."""
    heat = heat_of(grid(verdicts, lambda point: point.grad_accum > 1))
    assert [block.parameter for block in heat.blocks] == ["grad_accum", "rows"]
    first = heat.blocks[0]
    assert first.telling == pytest.approx(1)
    assert [(cell.deviating, cell.judged) for cell in first.rows[0].cells] == [(0, 30), (30, 30), (30, 30)]
    assert [cell.level for cell in first.rows[0].cells] == [0, 5, 5]


def test_many_values_share_columns_and_none_is_lost(verdicts):
    """Ranges hold every cell exactly once, and their query is in the selection grammar."""
    heat = heat_of(grid(verdicts, lambda point: point.rows > 20))
    block = next(block for block in heat.blocks if block.parameter == "rows")
    cells = block.rows[0].cells
    assert len(block.values) <= MOST_VALUES
    assert sum(cell.judged for cell in cells) == 90
    assert sum(cell.deviating for cell in cells) == 30
    assert cells[0].query.startswith("rows:1..")


def test_cells_without_a_verdict_do_not_count(founding):
    """Errors and unsupported cells are neither right nor wrong; known deviations conform where others are open."""
    heat = heat_of(founding)
    assert heat.open_only
    judged = {row.subject: row.cells for row in heat.blocks[0].rows}
    assert sum(cell.judged for cell in judged["accelerate"] if cell) == 1
    assert sum(cell.deviating for cell in judged["hf"] if cell) == 0


def test_hostile_names_are_shown_not_run(hostile):
    """A field and a value that hold anything make a block, and a value that is no plain word is quoted."""
    heat = heat_of(hostile)
    assert heat.blocks
    queries = [cell.query for block in heat.blocks for row in block.rows for cell in row.cells if cell]
    assert any('"' in query for query in queries)


def test_nothing_judged(verdicts):
    """An empty run has no block."""
    assert heat_of(verdicts.verdict_of([], stale=[])).blocks == ()
