"""The rules of a contract with one scenario's numbers filled in: an example for each rule that can have one."""

from __future__ import annotations

from ...scenarios import Scenario
from .contracts import Contract
from .expectation import expect
from .formulas import target_formula, updates_formula, weight_formula

__all__ = ["rule_examples"]

_SHOWN = 6


def rule_examples(scenario: Scenario, contract: Contract) -> dict[str, str]:
    """Return rule id to what the rule asks of this scenario; rules that need a ledger to say it are left out."""
    expected = expect(scenario, contract)
    terms, T = expected.terms, expected.optimizer_steps
    if not T:
        return {"target": target_formula(scenario, terms, contract)}
    windows = ", ".join(str(size) for size in expected.windows[:_SHOWN])
    more = f", … ({len(expected.windows)} windows)" if len(expected.windows) > _SHOWN else ""
    rates = ", ".join(f"{rate:.4g}" for rate in expected.learning_rates[:4]) + (", …" if T > 4 else "")
    done = expected.windows[0]
    seen = terms.M * terms.B * terms.R if scenario.drop_last else terms.rows
    examples = {
        "target": target_formula(scenario, terms, contract),
        "claim": f"global_step = {T}",
        "plan": f"announced total = T = {terms.T}",
        "window": f"windows = {windows}{more}",
        "remainder": updates_formula(terms, contract),
        "coverage": f"{seen} of {terms.rows} rows an epoch, in {terms.M} micro-batches of {terms.B}",
        "weight": weight_formula(scenario, contract),
        "schedule": f"lr of updates 1, 2, …: {rates}; {expected.scheduler_steps} scheduler steps",
        "epoch": f"after update 1: 0 + {done} / {terms.M} = {float(expected.epochs_after[0]):.4g}; "
        f"at the end {float(expected.epochs_after[-1]):.4g}",
    }
    for rule, every, word in (
        ("log", scenario.logging_steps, "entries"),
        ("save", scenario.save_steps, "checkpoints"),
    ):
        if every:
            examples[rule] = f"{word} every {every}: after updates {_multiples(every, T)}"
    if scenario.eval_steps:
        examples["eval"] = (
            f"evaluations every {scenario.eval_steps}: after updates {_multiples(scenario.eval_steps, T)}"
        )
    if scenario.max_grad_norm:
        examples["clip"] = f"norm·min(1, {scenario.max_grad_norm:g} / (norm + 1e-6))"
    if scenario.resume_at:
        examples["resume"] = f"{scenario.resume_at} updates, then {max(T - scenario.resume_at, 0)} more = {T}"
    return examples


def _multiples(every: int, last: int) -> str:
    found = range(every, last + 1, every)
    shown = ", ".join(str(number) for number in found[:4])
    return f"{shown}{', …' if len(found) > 4 else ''}" if found else "none"
