"""The rules: a registry of stable ids, each with its statement, its formula in symbols and its judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ....scenarios import ScenarioError, nearest
from ..books import CellBooks, Findings
from .cadence import judge_eval, judge_log, judge_save, judge_tokens
from .counts import judge_claim, judge_plan, judge_target
from .numeric import judge_curve, judge_params
from .ranks import judge_ranks
from .resume import judge_resume
from .schedule import judge_epoch, judge_schedule
from .skip import judge_skip
from .weights import judge_clip, judge_leak, judge_weight
from .windows import judge_coverage, judge_remainder, judge_window

__all__ = ["RULES", "Rule", "rule_named"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One promise of a contract.

    Attributes:
        rule_id: stable id.
        statement: one sentence.
        formula: in symbols.
        judge: returns the findings (none: the rule holds) or why it cannot judge.
    """

    rule_id: str
    statement: str
    formula: str
    judge: Callable[[CellBooks], Findings]


_ALL = (
    Rule(
        rule_id="target",
        statement="The run makes exactly the optimizer steps it was asked for.",
        formula="optimizer_steps = T;  T = max_steps if max_steps > 0 else ceil(epochs·U)",
        judge=judge_target,
    ),
    Rule(
        rule_id="claim",
        statement="The trainer's global_step is the number of optimizer steps it did.",
        formula="global_step = optimizer_steps",
        judge=judge_claim,
    ),
    Rule(
        rule_id="plan",
        statement="The total that the trainer announces is the number of optimizer steps it was asked for.",
        formula="announced total = T",
        judge=judge_plan,
    ),
    Rule(
        rule_id="window",
        statement="No window is longer than the accumulation, and the windows partition the epoch.",
        formula="windows of an epoch = A, A, …, M % A",
        judge=judge_window,
    ),
    Rule(
        rule_id="remainder",
        statement="The short last window of an epoch is stepped.",
        formula="U = max(M // A + (M % A > 0), 1)",
        judge=judge_remainder,
    ),
    Rule(
        rule_id="coverage",
        statement="Each row is trained on once an epoch.",
        formula="rows of an epoch = {0, …, rows-1}, each once; M·B of them with drop_last",
        judge=judge_coverage,
    ),
    Rule(
        rule_id="ranks",
        statement="The rows are dealt out over the ranks, and all ranks make the same updates.",
        formula="rows of an epoch = union over ranks, each once but for M·B·R - rows padding reads in the last round; "
        "optimizer steps, windows, gradient, lr, θ of rank r = those of rank 0",
        judge=judge_ranks,
    ),
    Rule(
        rule_id="weight",
        statement="Every label token of a window has the weight that the contract's reduction gives it.",
        formula="1 / N_window (token mean), or the documented mean of means",
        judge=judge_weight,
    ),
    Rule(
        rule_id="leak",
        statement="A fetched row enters one update only.",
        formula="weight of a row outside the window = 0",
        judge=judge_leak,
    ),
    Rule(
        rule_id="schedule",
        statement="Every update uses the learning rate of its place in the schedule.",
        formula="update k: lr = base·f(k-1; warmup, T);  scheduler_steps = optimizer_steps",
        judge=judge_schedule,
    ),
    Rule(
        rule_id="epoch",
        statement="The claimed epoch is the part of the data that was really trained on.",
        formula="epoch after an update = e + micro_batches_done / M",
        judge=judge_epoch,
    ),
    Rule(
        rule_id="log",
        statement="The log comes when it should and carries the loss, lr and gradient norm that were used.",
        formula="entries at k·logging_steps; loss = mean since the last entry",
        judge=judge_log,
    ),
    Rule(
        rule_id="save",
        statement="Checkpoints are written when they should be.",
        formula="checkpoints at k·save_steps and after the last update",
        judge=judge_save,
    ),
    Rule(
        rule_id="eval",
        statement="Evaluations are made when they should be.",
        formula="evaluations at k·eval_steps and after the last update",
        judge=judge_eval,
    ),
    Rule(
        rule_id="clip",
        statement="The gradient is clipped once, by the norm of the whole window, and only when asked for.",
        formula="norm at the optimizer = norm·min(1, max_grad_norm / (norm + 1e-6))",
        judge=judge_clip,
    ),
    Rule(
        rule_id="tokens",
        statement="The tokens that the trainer claims are those that it trained on, without padding.",
        formula="input tokens = Σ attention_mask",
        judge=judge_tokens,
    ),
    Rule(
        rule_id="skip",
        statement="A suppressed attempt is counted neither in global_step nor in the schedule.",
        formula="global_step = scheduler steps = attempts - suppressed",
        judge=judge_skip,
    ),
    Rule(
        rule_id="resume",
        statement="An interrupted and resumed run makes the updates of the uninterrupted one.",
        formula="updates before the checkpoint + updates after it = updates of the uninterrupted run",
        judge=judge_resume,
    ),
    Rule(
        rule_id="curve",
        statement="Loss, gradient norm and rate of every update are those of the replayed windows, to rounding.",
        formula="|value - value_float64| ≤ 8 · max over updates so far of |value_own - value_float64|",
        judge=judge_curve,
    ),
    Rule(
        rule_id="params",
        statement="The final parameters are those of the replayed windows, to rounding.",
        formula="|θ - θ_float64| ≤ 8 · |θ_own - θ_float64|",
        judge=judge_params,
    ),
)

RULES: dict[str, Rule] = {rule.rule_id: rule for rule in _ALL}


def rule_named(rule_id: str) -> Rule:
    """Return the rule of this id.

    Raises:
        ScenarioError: no such rule; the message names the nearest.
    """
    try:
        return RULES[rule_id]
    except KeyError:
        raise ScenarioError(f"unknown rule {rule_id!r}{nearest(rule_id, RULES)}") from None
