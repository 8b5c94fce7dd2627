"""Subject × parameter: every judged cell is counted once in every block, and the telling parameter comes first."""

import pytest
from stepaudit.harness.judging.verdict import Standing
from stepaudit.reports.heat import MOST_VALUES, heat_of
from stepaudit.reports.html import page_text
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


def two_subjects(verdicts, ours, theirs):
    """Return a run in which `ours` deviates where it accumulates and `theirs` by its rows, standing like this."""
    cells = []
    for rows in (8, 60):
        for accum in (1, 4):
            point = Scenario(rows=rows, grad_accum=accum, max_steps=8)
            for subject, fails, standing in (("ours", accum > 1, ours), ("theirs", rows > 8, theirs)):
                number = len(cells)
                if standing is None or not fails:
                    cells.append(verdicts.cell(subject, point, number))
                    continue
                cell = verdicts.overrun(subject, point, number, 16, 40)
                found = [item.model_copy(update={"standing": standing}) for item in cell.deviations]
                cells.append(cell.model_copy(update={"deviations": found}))
    return verdicts.verdict_of(cells, stale=[])


def counted(heat, parameter, subject):
    """Return what a row of a block says: deviating, judged, mark."""
    (block,) = [block for block in heat.blocks if block.parameter == parameter]
    (row,) = [row for row in block.rows if row.subject == subject]
    return [(cell.deviating, cell.judged, cell.mark.key) for cell in row.cells]


def test_an_informational_subject_is_told_apart(verdicts):
    """Its deviations are counted under a mark of their own, and which parameter comes first is not theirs to say."""
    heat = heat_of(two_subjects(verdicts, Standing.NEW, Standing.INFORMATIONAL))
    assert [block.parameter for block in heat.blocks] == ["grad_accum", "rows"]
    assert [block.telling for block in heat.blocks] == pytest.approx([1, 0])
    assert counted(heat, "rows", "theirs") == [(0, 2, "conforms"), (2, 2, "informational")]
    assert counted(heat, "rows", "ours") == [(1, 2, "new"), (1, 2, "new")]
    assert [mark.key for mark in heat.told] == ["informational"]


def test_an_informational_subject_leaves_known_deviations_in_sight(verdicts):
    """It fails nothing, so it does not make known deviations count as conforming, as an open one does."""
    heat = heat_of(two_subjects(verdicts, Standing.KNOWN, Standing.INFORMATIONAL))
    assert not heat.open_only
    assert counted(heat, "grad_accum", "ours") == [(0, 2, "conforms"), (2, 2, "known")]
    assert [mark.key for mark in heat.told] == ["informational", "known"]
    opened = heat_of(two_subjects(verdicts, Standing.KNOWN, Standing.NEW))
    assert opened.open_only
    assert counted(opened, "grad_accum", "ours") == [(0, 2, "conforms"), (0, 2, "conforms")]
    assert opened.told == ()


def test_the_page_shows_the_mark(verdicts):
    """Word, shape and shade, and what the shape means."""
    page = page_text(two_subjects(verdicts, Standing.NEW, Standing.INFORMATIONAL))
    matrix = page[page.index('id="matrix"') : page.index('id="cells"')]
    assert "◇ informational" in matrix
    assert '<td class="hot h5 told"' in matrix
    assert '<span class="hidden">informational: </span>2/2' in matrix
    assert '<td class="hot h5"><a' in matrix
    passing = two_subjects(verdicts, None, Standing.INFORMATIONAL)
    matrix = page_text(passing).partition('id="matrix"')[2].partition('id="cells"')[0]
    assert "✗" not in matrix
    assert "known deviations count" not in matrix


def test_hostile_names_are_shown_not_run(hostile):
    """A field and a value that hold anything make a block, and a value that is no plain word is quoted."""
    heat = heat_of(hostile)
    assert heat.blocks
    queries = [cell.query for block in heat.blocks for row in block.rows for cell in row.cells if cell]
    assert any('"' in query for query in queries)


def test_nothing_judged(verdicts):
    """An empty run has no block."""
    assert heat_of(verdicts.verdict_of([], stale=[])).blocks == ()
