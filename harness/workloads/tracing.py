"""The trace tier's workload: the tracer model over rows that carry their id as token values."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...scenarios import DatasetKind, Scenario
from ...scenarios.lengths import label_tokens_of_row
from .rows import EVAL_ROWS, IGNORE_INDEX, IterableRows, OnFetch, OnPass, SizedRows, pad_token, row_tensors
from .tracer import TracerForCausalLM, build_tracer
from .workload import Sight, Weighing

__all__ = ["TraceWorkload"]


class TraceWorkload:
    """Tracer model, training rows `0 … rows-1` and `EVAL_ROWS` evaluation rows after them."""

    def __init__(self, scenario: Scenario, on_fetch: OnFetch, on_pass: OnPass) -> None:
        self._scenario = scenario
        self.model: TracerForCausalLM = build_tracer(scenario)
        self._padding = pad_token(scenario)
        self._label_tokens = [
            label_tokens_of_row(row, scenario.lengths) for row in range(scenario.rows + EVAL_ROWS)
        ]
        rows = [row_tensors(row, scenario) for row in range(scenario.rows + EVAL_ROWS)]
        train, evaluation = rows[: scenario.rows], rows[scenario.rows :]
        self.train_dataset: SizedRows | IterableRows = (
            SizedRows(train, 0, on_fetch)
            if scenario.dataset is DatasetKind.SIZED
            else IterableRows(train, 0, on_fetch, on_pass)
        )
        self.eval_dataset = SizedRows(evaluation, scenario.rows, _unwatched)

    def identify(self, input_ids: Tensor, labels: Tensor | None, attention_mask: Tensor | None) -> Sight:
        """Read the rows from the token values, whatever the trainer did to the batch."""
        del attention_mask  # padding is a token of its own
        counts: dict[int, int] = {}
        tokens = 0
        for sequence in input_ids.tolist():
            for token in sequence:
                if token != self._padding:
                    tokens += 1
                    counts.setdefault(token, 0)
        if labels is None:
            counts = {row: self._label_tokens[row] for row in counts}
        else:
            for sequence in labels.tolist():
                for label in sequence[1:]:
                    if label not in (IGNORE_INDEX, self._padding):  # labelled padding is no row's label token
                        counts[label] = counts.get(label, 0) + 1
        rows: list[int] = []
        label_tokens: list[int] = []
        for row, count in counts.items():
            times = self._times(row, count)
            rows += [row] * times
            label_tokens += [count // times] * times
        return Sight(rows=tuple(rows), label_tokens=tuple(label_tokens), input_tokens=tokens)

    def _times(self, row: int, count: int) -> int:
        """How often a row is in the input, by its label tokens: a loader may fill a micro-batch with it twice."""
        times, rest = divmod(count, self._label_tokens[row])
        return times if times and not rest else 1

    def weigh(self, model: nn.Module, rows: Sequence[int]) -> Weighing:
        """Read the books; the tracer's gradient says by itself which rows are in it."""
        del rows
        return Weighing(weights=self.weights(model), residual=None)

    def fresh_model(self) -> nn.Module:
        """Return the model as it was before training, newly built."""
        return build_tracer(self._scenario)

    def weights(self, model: nn.Module) -> dict[int, float] | None:
        """Read the books: minus the gradient's entry of a row over the row's label tokens."""
        parameter = model.rows
        assert isinstance(parameter, nn.Parameter)
        gradient = parameter.grad
        if gradient is None:
            return {}
        rows = gradient.nonzero().flatten()
        # Padding that was trained on weighs like a row that no window holds.
        tokens = [*self._label_tokens, 1]
        return {
            row: -value / tokens[row]
            for row, value in zip(rows.tolist(), gradient[rows].tolist(), strict=True)
        }


def _unwatched(rows: Sequence[int]) -> None:
    """Evaluation rows are recognised in the forward; their fetching says nothing."""
