"""Figures: the same bytes every time, text as text, both colour schemes, hostile text harmless."""

import re
import struct
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from stepaudit.reports.exhibits import exhibits_of
from stepaudit.reports.figures import loss_figure, matrix_figure, step_cells, steps_figure
from stepaudit.reports.overview import matrix

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def exhibits(founding, ledgers):
    return exhibits_of(founding, ledgers.lookup_for(founding))


def texts(drawing):
    return [element.text for element in ET.fromstring(drawing.svg).iter(f"{SVG}text")]


def test_steps_show_all_three_counts(founding):
    """The founding numbers can be read as text from the figure."""
    drawing = steps_figure(step_cells(founding))
    assert {"350", "700", "8", "16", "12", "48"} <= set(texts(drawing))
    assert "unsloth-zoo@2024.10.0" in texts(drawing)


def test_only_cells_whose_steps_part_are_shown(founding):
    """A wrong weight is no wrong count."""
    rules = {deviation.rule for cell in step_cells(founding) for deviation in cell.deviations}
    assert rules == {"target", "plan", "claim"}


def test_loss_lays_the_reference_over_the_subject(exhibits):
    """The curve names both runs with their updates and marks where the contract ends."""
    found = texts(loss_figure(exhibits[0]))
    assert "unsloth-zoo@2024.10.0 (16 updates)" in found
    assert "hf (8 updates)" in found
    assert "contract ends at 8" in found


def test_matrix_counts(founding):
    """Each pair shows how many of its judged cells break the rule."""
    assert "✗ 2/3" in texts(matrix_figure(matrix(founding)))


def test_same_bytes(founding, exhibits):
    """A figure of the same verdict is the same file, so that reports can be compared."""
    for draw in (lambda: steps_figure(step_cells(founding)), lambda: loss_figure(exhibits[0])):
        first, second = draw(), draw()
        assert first.svg == second.svg
        assert first.png == second.png


def test_both_colour_schemes(founding):
    """No colour is fixed: each is a class with a value for light and one for dark."""
    svg = steps_figure(step_cells(founding)).svg
    assert "prefers-color-scheme:dark" in svg
    assert not re.findall(r'(?:style|fill|stroke)="[^"]*#(?:000000|ffffff)', svg)
    body = svg[svg.index("</style>") :]
    assert not re.search(r"(?:fill|stroke): #", body)


def test_ids_are_unique_within_a_page(founding, exhibits):
    """Several figures stand in one page; no id is used twice, and every reference finds its id."""
    svgs = [steps_figure(step_cells(founding)).svg, *(loss_figure(exhibit).svg for exhibit in exhibits)]
    ids = [name for svg in svgs for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    used = {name for svg in svgs for name in re.findall(r'(?:href="#|url\(#)([^")]+)', svg)}
    assert used <= set(ids)


def test_the_callers_settings_are_restored(founding):
    """matplotlib's global settings are as before, and pyplot was not needed."""
    before = dict(mpl.rcParams)
    steps_figure(step_cells(founding))
    assert dict(mpl.rcParams) == before


def test_png(founding):
    """The PNG is one, and large enough to read."""
    png = steps_figure(step_cells(founding)).png
    width, _ = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width > 1000


def test_hostile_names(hostile, ledgers):
    """Any text can be drawn; the SVG is well formed and holds no element that a stranger wrote."""
    drawings = [matrix_figure(matrix(hostile))]
    drawings += [loss_figure(exhibit) for exhibit in exhibits_of(hostile, ledgers.lookup_for(hostile))]
    for drawing in drawings:
        tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(drawing.svg).iter()}
        assert tags <= {
            "svg",
            "title",
            "style",
            "defs",
            "g",
            "path",
            "use",
            "text",
            "tspan",
            "clipPath",
            "rect",
        }
        assert re.fullmatch(r"[\w.-]+", drawing.name)


def test_losses_that_are_not_finite(founding, ledgers):
    """NaN losses leave gaps, and the legend counts them."""
    found = exhibits_of(founding, ledgers.lookup_for(founding, broken_losses=True))
    assert "3 of its losses are missing, NaN or infinite" in texts(loss_figure(found[0]))


def test_ledgers_are_read_for_examples_only(large):
    """However many cells there are, a dozen clusters' ledgers are opened, two a cluster."""
    verdict = large(2000)
    asked = []
    exhibits_of(verdict, asked.append)
    assert 0 < len(asked) <= 24
