"""`stepaudit predict`: the expected account of one scenario, per contract, with its formulas. Needs no torch."""

from __future__ import annotations

from rich.console import Console

from ...scenarios import Scenario, ScenarioError
from ...scenarios.axes import axis_name, value_from_text
from ..contract import CONTRACTS, Contract, Expectation, contract_named, expect, terms_of
from ..contract.formulas import (
    REDUCTION_SYMBOLS,
    epochs_formula,
    micro_batches_formula,
    target_formula,
    updates_formula,
)

__all__ = ["predict"]

_MOST = 10_000_000


def predict(*, contract: str | None = None, **fields: str) -> int:
    """Predict what one scenario must do, per contract, with the numbers filled in.

    Every scenario field is an option, by its own name or by that of TrainingArguments: --rows, --grad-accum,
    --per-device-batch-size, --max-steps, --epochs, --drop-last true, ...

    Parameters
    ----------
    contract
        One contract only: hf-5, hf-4.45, token-mean, accelerate-accumulate.
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
    for item in chosen:
        _print(console, scenario, item, expect(scenario, item))
    return 0


def _print(console: Console, scenario: Scenario, contract: Contract, expected: Expectation) -> None:
    terms = expected.terms
    console.print(f"\ncontract  {contract.name}: {contract.title}", style="bold")
    console.print(f"          {contract.source}", style="dim")
    rows = [
        ("optimizer steps", expected.optimizer_steps, target_formula(scenario, terms, contract)),
        ("micro-batches an epoch", terms.M, micro_batches_formula(scenario, terms)),
        ("updates an epoch", terms.U, updates_formula(terms, contract)),
        ("epochs entered", expected.epochs_entered, epochs_formula(scenario, terms)),
        ("micro-batches", expected.micro_batches, f"windows {_windows(expected.windows)}"),
        ("scheduler steps", expected.scheduler_steps, "one an optimizer step"),
        ("label token's weight", "", REDUCTION_SYMBOLS[contract.reduction[scenario.loss_protocol]]),
    ]
    if expected.learning_rates:
        rates = expected.learning_rates
        rows.append(
            (
                "learning rate",
                "",
                (
                    f"{scenario.learning_rate:g}·{scenario.lr_schedule.value}(k-1; warmup={scenario.warmup_steps}, "
                    f"T={terms.T}): first {rates[0]:.6g}, last {rates[-1]:.6g}"
                ),
            )
        )
        rows.append(("epoch at the end", f"{float(expected.epochs_after[-1]):.6g}", "micro-batches / M"))
    wide = max(len(str(value)) for _, value, _ in rows)
    for name, value, formula in rows:  # no table: a formula that wraps cannot be read, nor searched for
        console.print(f"  {name:<22}  {value!s:<{wide}}  {formula}")


def _windows(windows: tuple[int, ...], most: int = 12) -> str:
    text = ", ".join(str(size) for size in windows[:most])
    return f"[{text}{', …' if len(windows) > most else ''}]"
