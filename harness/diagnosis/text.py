"""A diagnosis as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from ...scenarios import Scenario
from ..contract import RULES, Contract
from .divisors import Divisor
from .explanation import Explained, ExplainedCluster, ExplainedFigure
from .expression import Expression, Leaf, leaves_of
from .formulas import Settled
from .fuzz_records import Broken, FuzzFinding
from .hypotheses import Held
from .quantities import DEFINITIONS, MEANINGS, quantities_of
from .shrinking import Shrunk
from .weight_samples import MEASURES

__all__ = ["explained_lines", "finding_lines", "numbers_of"]


def explained_lines(explained: Explained) -> Iterator[str]:
    """Yield the diagnosis of one subject; lines that begin with `# ` are headings."""
    yield f"# {explained.subject}  ({explained.cells} cells, contract {explained.contract.name})"
    if explained.conforms:
        what = "every rule holds and every figure is the contract's"
        yield f"Nothing to explain: in {explained.cells} cells {what}."
        if explained.not_run:
            yield f"({explained.not_run} cells of the sweep have no books and say nothing.)"
    for cluster in explained.clusters:
        yield ""
        yield from _cluster_lines(cluster)
    if explained.more_clusters:
        yield f"({explained.more_clusters} more clusters are not shown: choose one with --rule)"
    for figure in explained.figures:
        yield ""
        yield from _figure_lines(figure, explained.contract)
    if explained.stopped:
        yield f"({explained.stopped} runs had no end and have no figures)"
    for message, count in explained.crashed.items():
        yield f"({count} of the scenarios that were run here gave no books: {_short(message)})"


def finding_lines(finding: FuzzFinding, reproduce: str) -> Iterator[str]:
    """Yield one finding of a fuzz."""
    broken = finding.broken
    standing = f"known: {broken.known}" if broken.known else "new"
    yield f"# {broken.rule}  ({standing})"
    yield f"  {RULES[broken.rule].statement}"
    yield from _broken_lines(broken)
    yield f"  found in  {finding.first.label}"
    yield from _shrunk_lines(finding.shrunk)
    if finding.other_way:
        yield f"    a simplification of it breaks `{broken.rule}` in another way, which is a finding of its own"
    if finding.also:
        others = [item.rule + (f" (known: {item.known})" if item.known else "") for item in finding.also]
        yield f"  it also breaks {', '.join(dict.fromkeys(others))}"
    yield f"  reproduce {reproduce}"


def numbers_of(expression: Expression, scenario: Scenario, contract: Contract) -> str:
    """Return the quantities of an expression with a scenario's numbers, e.g. `U=350, U_floor=349 → 700`."""
    quantities = quantities_of([scenario], contract)
    names = [name for name in dict.fromkeys(leaves_of(expression)) if name in quantities.columns]
    shown = [f"{name}={quantities.columns[name][0]}" for name in names if not name.isdecimal()]
    return f"{', '.join(shown)} → {expression.value(quantities)[0]}"


def _broken_lines(broken: Broken) -> Iterator[str]:
    yield f"  due       {broken.expected}"
    yield f"  got       {broken.got}"


def _shrunk_lines(shrunk: Shrunk) -> Iterator[str]:
    head = "no single simplification breaks it" if shrunk.minimal else "not fully reduced"
    yield f"  smallest  ({head}, {shrunk.runs} scenarios tried)"
    for line in shrunk.lines():
        yield f"    {line}"


def _cluster_lines(item: ExplainedCluster) -> Iterator[str]:
    cluster, finding = item.cluster, item.finding
    yield f"# {cluster.rule}: {len(cluster.failing)} of {len(cluster.judged)} cells"
    yield f"  {RULES[cluster.rule].statement}"
    if item.interaction is not None:
        exact = "" if item.interaction.exact else "  (does not separate them fully)"
        yield f"  when      {item.interaction}{exact}"
        named = [word for word in str(item.interaction).split() if word in DEFINITIONS]
        names = dict.fromkeys(name for word in named for name in leaves_of(Leaf(name=word)))
        yield from (f"            {name} = {DEFINITIONS[name]}" for name in names)
        if item.ran:
            yield f"            (cells of the sweep and {item.ran} that were run here)"
    for rule, count in cluster.consequences.items():
        yield f"  and with it {rule}, in {count} of these cells"
    if item.divisor is not None:
        yield from _divisor_lines(item.divisor)
    yield f"  due       {finding.expected}   {finding.formula}"
    yield f"  got       {finding.got}"
    if item.shrunk is not None:
        yield from _shrunk_lines(item.shrunk)
    else:
        yield f"  smallest  {item.smallest.label}"
    yield f"  the books part: {item.divergence.title}"
    yield from (f"    {line}" for line in item.divergence.text())


def _divisor_lines(divisor: Divisor) -> Iterator[str]:
    yield f"  promised  weight of a label token = {divisor.promised}"
    letters: dict[str, None] = {}
    for case in divisor.cases:
        when = f" where {case.condition}" if case.condition not in {"", "elsewhere"} else ""
        when = " elsewhere" if case.condition == "elsewhere" else when
        meaning = f", {case.meaning}" if case.meaning else ""
        yield f"  really    {case.weight}{when}{meaning}  ({case.rows} of {case.of} rows)"
        letters |= dict.fromkeys(name for name in MEASURES if name in case.weight.replace("·", " ").split())
        letters |= dict.fromkeys(
            name for name in MEASURES if f"({name}·" in case.weight or f"·{name})" in case.weight
        )
    if letters:
        yield f"            {'; '.join(f'{name}: {MEASURES[name]}' for name in letters)}"
    if divisor.rivals:
        yield f"            (these cells do not tell it from {', '.join(divisor.rivals)})"
    if divisor.foreign:
        updates = f"{divisor.foreign} of {divisor.updates} updates"
        yield f"  foreign   in {updates} a row from outside the window has a weight"


def _figure_lines(item: ExplainedFigure, contract: Contract) -> Iterator[str]:
    figure = item.figure
    yield f"# {figure.title} ({figure.name}): {item.deviating} of {item.cells} cells are not the contract's"
    if item.follows is not None:
        yield f"  follows   {item.follows}  (done = optimizer steps observed), in all {item.cells} cells"
        if "N_done" in leaves_of(item.follows):
            yield f"            N_done = {DEFINITIONS['N_done']}"
    if item.settled is not None:
        yield from _settled_lines(item.settled, item, contract)
    for held in item.hypotheses:
        yield from _held_lines(held)


def _settled_lines(settled: Settled, item: ExplainedFigure, contract: Contract) -> Iterator[str]:
    candidate = settled.candidate
    holds = "exact on all" if candidate.exact else f"on {candidate.cells} of"
    yield f"  formula   {candidate.text}   {holds} {candidate.of} cells"
    for definition in candidate.definitions:
        yield f"            {definition}"
    for other in dict.fromkeys(map(str, candidate.equals)):
        if other != candidate.text:
            yield f"            = {other}"
    letters = [name for name in dict.fromkeys(leaves_of(candidate.expression)) if name in MEANINGS]
    if letters:
        yield f"            {', '.join(f'{name}: {MEANINGS[name]}' for name in letters)}"
    if item.example is not None:
        scenario, observed, expected, formula = item.example
        yield f"  e.g.      {scenario.label}: observed {observed}, the contract {expected}"
        yield f"            {numbers_of(candidate.expression, scenario, contract)}"
        yield f"            contract: {formula}"
    more = len(settled.sample.cells) - item.cells
    yield f"  rests on  {item.cells} cells of the sweep and {max(more, 0)} that were run here" + (
        f", {len(settled.told_apart)} of them to tell formulas apart" if settled.told_apart else ""
    )
    for rival in settled.rivals[:3]:
        yield f"  or        {rival.text}   (no scenario that can be run tells it apart)"
    held = settled.held_out
    if held is not None:
        rate = f"right on {held.right} of {held.of} fresh random scenarios"
        crashed = f"; {held.not_run} more gave no figure" if held.not_run else ""
        yield f"  held out  {rate} (the contract's formula: {held.contract_right}){crashed}"
        for miss in held.misses:
            yield f"            wrong on {miss.label}"


def _held_lines(held: Held) -> Iterator[str]:
    word = "true" if held.is_true else "false"
    reading = f" with {held.reading}" if held.reading else ""
    deviating = f"{held.right_where_deviating} of {held.deviating} deviating ones"
    without = f"; it has no value on {held.without} others" if held.without else ""
    holds = f"holds on {held.right} of {held.of} cells ({deviating})"
    yield f"  proposed  `{held.formula}`{reading}: {word}, {holds}{without}"
    if held.counterexample is not None:
        scenario, said, observed = held.counterexample
        yield f"            on {scenario.label} it says {said}, observed {observed}"


def _short(message: str, most: int = 160) -> str:
    text = " ".join(message.split())
    return text if len(text) <= most else text[: most - 1] + "…"
