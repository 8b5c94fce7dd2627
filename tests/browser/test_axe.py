"""axe-core finds nothing serious: overview with clusters, matrix and contract; cell page; both colour schemes."""

import pytest
from axe_core_python.base import AXE_SCRIPT

RUN = """
const done = arguments[arguments.length - 1];
const failed = (error) => done([{impact: 'serious', id: String(error), nodes: []}]);
axe.run({resultTypes: ['violations']}).then((found) => done(found.violations), failed);
"""


def violations(tab):
    """Return what axe has to say, as lines that name rule and element."""
    tab.driver.set_script_timeout(250)
    tab.run(AXE_SCRIPT)
    found = tab.driver.execute_async_script(RUN)
    return [f"{one['impact']} {one['id']}: {[node['target'] for node in one['nodes'][:3]]}" for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_overview(tab, reports, scheme):
    """With everything unfolded."""
    tab.scheme(scheme)
    tab.open(reports("founding"))
    tab.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert violations(tab) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("rule", ["target", "weight"])
def test_cell(tab, reports, founding, scheme, rule):
    """With lanes, curves and, for `weight`, books."""
    tab.scheme(scheme)
    cell_id = next(cell.id for cell in founding.cells if any(item.rule == rule for item in cell.deviations))
    tab.open(reports("founding"), f"#cell={cell_id}")
    assert tab.all(".lanes")
    assert violations(tab) == []


def test_axe_would_say_something(tab, reports):
    """An image without a name on our page is found: the check can fail."""
    tab.open(reports("passed"))
    tab.run("document.querySelector('main').append(document.createElement('input'))")
    assert any(line.startswith("critical label") for line in violations(tab))
