"""`stepaudit predict`: the expected account of one scenario, per contract, with its formulas. Needs no torch."""

from __future__ import annotations

from rich.console import Console

from ...scenarios import Scenario, ScenarioError
from ...scenarios.axes import axis_name, value_from_text
from ..contract import (
    CONTRACTS,
    Contract,
    contract_named,
    expect,
    padding_due,
    padding_formula,
    terms_of,
)
from ..contract.formulas import (
    epochs_formula,
    micro_batches_formula,
    target_formula,
    updates_formula,
    weight_formula,
)

__all__ = ["predict"]

_MOST = 10_000_000

Line = tuple[str, str, str]
"""what is counted, the figure, the formula"""


def predict(*, contract: str | None = None, **fields: str) -> int:
    """Predict what one scenario must do, per contract, with the numbers filled in.

    The first contract in full; of the others only the lines in which they differ from it.

    Every scenario field is an option, by its own name or by that of TrainingArguments: --rows, --grad-accum,
    --per-device-batch-size, --max-steps, --epochs, --drop-last true, ...

    Parameters
    ----------
    contract
        One contract only, by its name.
    fields
        Scenario fields; those left out take their default.
    """
    named = {axis_name(name): value_from_text(axis_name(name), text) for name, text in fields.items()}
    scenario = Scenario(**named)
    for item in CONTRACTS.values():
        if (total := terms_of(scenario, item).T) > _MOST:
            raise ScenarioError(
                f"T = {total} optimizer steps are too many to list; predict takes at most {_MOST}"
            )
    chosen = [contract_named(contract)] if contract else list(CONTRACTS.values())
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"scenario  {scenario.label}")
    accounts = {item.name: _lines(scenario, item) for item in chosen}
    first = chosen[0]
    _print(console, [first], accounts[first.name])
    others: dict[tuple[Line, ...], list[Contract]] = {}
    for item in chosen[1:]:
        others.setdefault(accounts[item.name], []).append(item)
    for lines, alike in others.items():
        _print(console, alike, tuple(line for line in lines if line not in accounts[first.name]))
        console.print(f"  {'the rest' if lines != accounts[first.name] else 'all of it'} as {first.name}")
    return 0


def _print(console: Console, contracts: list[Contract], lines: tuple[Line, ...]) -> None:
    console.print()
    for contract in contracts:
        console.print(f"contract  {contract.name}: {contract.title}", style="bold")
        console.print(f"          {contract.source}", style="dim")
    wide = max((len(value) for _, value, _ in lines), default=0)
    for name, value, formula in lines:  # no table: a formula that wraps cannot be read, nor searched for
        console.print(f"  {name:<22}  {value:<{wide}}  {formula}")


def _lines(scenario: Scenario, contract: Contract) -> tuple[Line, ...]:
    expected = expect(scenario, contract)
    terms = expected.terms
    each = expected.scheduler_steps // max(expected.optimizer_steps, 1)
    pace = "one an optimizer step" if each <= 1 else f"{each} an optimizer step: one for each of R ranks"
    lines = [
        ("optimizer steps", expected.optimizer_steps, target_formula(scenario, terms, contract)),
        ("micro-batches an epoch", terms.M, micro_batches_formula(scenario, terms)),
        ("updates an epoch", terms.U, updates_formula(terms, contract)),
        ("epochs entered", expected.epochs_entered, epochs_formula(scenario, terms)),
        ("micro-batches", expected.micro_batches, f"windows {_windows(expected.windows)}"),
        ("scheduler steps", expected.scheduler_steps, pace),
        ("label token's weight", "", weight_formula(scenario, contract)),
    ]
    if scenario.ranks > 1:
        due = padding_due(scenario, terms, contract)
        lines.append(
            (
                "rows read again",
                due,
                f"an epoch, to fill its last round: {padding_formula(scenario, terms, contract)}",
            )
        )
    if expected.learning_rates:
        rates = expected.learning_rates
        shape = f"{scenario.lr_schedule.value}(k-1; warmup={scenario.warmup_steps}, T={terms.T})"
        formula = f"{scenario.learning_rate:g}·{shape}: first {rates[0]:.6g}, last {rates[-1]:.6g}"
        lines.append(("learning rate", "", formula))
        lines.append(("epoch at the end", f"{float(expected.epochs_after[-1]):.6g}", "micro-batches / M"))
    return tuple((name, str(value), formula) for name, value, formula in lines)


def _windows(windows: tuple[int, ...], most: int = 12) -> str:
    text = ", ".join(str(size) for size in windows[:most])
    return f"[{text}{', …' if len(windows) > most else ''}]"
