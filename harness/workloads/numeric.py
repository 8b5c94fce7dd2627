"""The numeric tier's workload: a random Llama over real text, rows recognised by their content."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...scenarios import DatasetKind, FirstLabel, LengthProfile, ModelKind, Precision, Scenario, Tier
from ..oracle.projection import Projection, Weighing
from .llama import build_exact_llama, build_llama
from .rows import EVAL_ROWS, IGNORE_INDEX, IterableRows, OnFetch, OnPass, SizedRows
from .text import ANSWER, BEGIN, PAD, encode, text_pairs
from .workload import Sight

__all__ = ["AUTOCAST", "NumericWorkload"]

AUTOCAST = {Precision.FP32: None, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
"""what each precision casts the forward to; parameters are float32 in all of them"""

_SKETCHED = {ModelKind.LLAMA: 2**16}
"""dimensions of the sketch of models whose gradients are too large to keep one for every row"""

_PROMPT_MOST, _PROMPT_LEAST, _ANSWER_MOST, _EQUAL = 12, 6, 16, 8


class NumericWorkload:
    """A Llama on the tier's device, training rows `0 … rows-1` and then `EVAL_ROWS` more, padded on the right.

    Args:
        scenario: which model, how many rows, what is labelled: with `first_label` masked only the answer.
        on_fetch: is told which rows leave the training dataset.
        on_pass: is told of every pass over an iterable dataset.
        every: weigh every such update only. dims: by a sketch of so many dimensions (`Projection`); None for a
            sketch where the model is large, and exactly where it is tiny.
    """

    def __init__(
        self,
        scenario: Scenario,
        on_fetch: OnFetch,
        on_pass: OnPass,
        *,
        every: int = 1,
        dims: int | None = None,
    ) -> None:
        self._scenario = scenario
        self._texts = _texts(scenario)
        self._ids = {tokens: row for row, (tokens, _) in enumerate(self._texts)}
        longest = max(len(tokens) for tokens, _ in self._texts)
        rows = [_tensors(tokens, first, longest) for tokens, first in self._texts]
        self._rows = rows
        self._device = torch.device("cuda" if scenario.tier is Tier.GPU else "cpu")
        self.model = self.fresh_model()
        train, evaluation = rows[: scenario.rows], rows[scenario.rows :]
        self.train_dataset: SizedRows | IterableRows = (
            SizedRows(train, 0, on_fetch)
            if scenario.dataset is DatasetKind.SIZED
            else IterableRows(train, 0, on_fetch, on_pass)
        )
        self.eval_dataset = SizedRows(evaluation, scenario.rows, _unwatched)
        autocast = AUTOCAST[scenario.precision]
        # Under autocast the twin rounds as the run does; without, it adds no rounding of its own.
        twin = self.fresh_model() if autocast else self.exact_model()
        dims = dims or _SKETCHED.get(scenario.model)
        self._projection = Projection(twin, self._alone, autocast=autocast, every=every, dims=dims)

    def identify(self, input_ids: Tensor, labels: Tensor | None, attention_mask: Tensor | None) -> Sight:
        """Recognise rows by their tokens, padded, cut, or packed into one sequence: every row begins with BEGIN.

        Raises:
            ValueError: a sequence that is no row, nor the beginning of exactly one.
        """
        del attention_mask  # padding is a token of its own
        counts: dict[int, int] = {}
        tokens = 0
        targets = None if labels is None else labels.tolist()
        for number, sequence in enumerate(input_ids.tolist()):
            for start, end in _segments(sequence):
                row = self._row_of(tuple(sequence[start:end]))
                tokens += end - start
                if targets is None:
                    counts[row] = self.label_tokens(row)
                    continue
                counted = targets[number][max(start, 1) : end]
                counts[row] = counts.get(row, 0) + sum(label != IGNORE_INDEX for label in counted)
        return Sight(rows=tuple(counts), label_tokens=tuple(counts.values()), input_tokens=tokens)

    def weigh(self, model: nn.Module, rows: Sequence[int]) -> Weighing:
        """Weigh the window's rows in the gradient that `model` holds now, by projection."""
        return self._projection.weigh(model, rows)

    def fresh_model(self) -> nn.Module:
        """Return the model as it was before training, newly built."""
        return build_llama(self._scenario).to(self._device)

    def exact_model(self) -> nn.Module:
        """Return the same model in float64."""
        return build_exact_llama(self._scenario).to(self._device)

    def batch(self, rows: Sequence[int]) -> Mapping[str, Tensor]:
        """Return the tensors of a micro-batch of these rows, each `[rows, length]`, on the model's device."""
        return {
            name: torch.stack([self._rows[row][name] for row in rows]).to(self._device)
            for name in self._rows[0]
        }

    def label_tokens(self, row: int) -> int:
        """Label tokens of a row, after the shift."""
        return int((self._rows[row]["labels"][1:] != IGNORE_INDEX).sum())

    def _alone(self, row: int) -> Mapping[str, Tensor]:
        length = len(self._texts[row][0])
        return {name: tensor[None, :length].to(self._device) for name, tensor in self._rows[row].items()}

    def _row_of(self, tokens: tuple[int, ...]) -> int:
        row = self._ids.get(tokens)
        if row is not None:
            return row
        longer = [at for at, (known, _) in enumerate(self._texts) if known[: len(tokens)] == tokens]
        if len(longer) == 1:
            return longer[0]
        raise ValueError(
            f"the model was given {len(tokens)} tokens that begin {len(longer)} rows of the data: {tokens[:12]}"
        )


def _texts(scenario: Scenario) -> list[tuple[tuple[int, ...], int]]:
    """Return tokens and position of the first label of every row, all different, evaluation rows last.

    Row *i* has 8 answer tokens, or 1 to 16 without a short period, after a prompt of 8, or 6 to 12 bytes.
    """
    pairs = list(text_pairs())
    random.Random(scenario.seed).shuffle(pairs)
    wanted = scenario.rows + EVAL_ROWS
    found: dict[tuple[int, ...], int] = {}
    for prompt, answer in pairs:
        if len(found) == wanted:
            break
        row = len(found)
        ragged = scenario.lengths is LengthProfile.RAGGED
        prompt_bytes = _PROMPT_LEAST + row * 5 % (_PROMPT_MOST - _PROMPT_LEAST + 1) if ragged else _EQUAL
        answer_bytes = 1 + (row * 2654435761 >> 9) % _ANSWER_MOST if ragged else _EQUAL
        head = [BEGIN, *encode(prompt)[-prompt_bytes:], ANSWER]
        tokens = (*head, *encode(answer)[:answer_bytes])
        first = len(head) if scenario.first_label is FirstLabel.MASKED else 0
        if not any(known[: len(tokens)] == tokens or tokens[: len(known)] == known for known in found):
            found[tokens] = first
    if len(found) < wanted:
        raise ValueError(
            f"rows must be at most {len(found) - EVAL_ROWS} here (the texts there are), not {scenario.rows}"
        )
    return list(found.items())


def _tensors(tokens: tuple[int, ...], first: int, length: int) -> dict[str, Tensor]:
    input_ids = torch.full((length,), PAD)
    input_ids[: len(tokens)] = torch.tensor(tokens)
    labels = torch.full((length,), IGNORE_INDEX)
    labels[first : len(tokens)] = torch.tensor(tokens[first:])
    attention_mask = torch.zeros(length, dtype=torch.int64)
    attention_mask[: len(tokens)] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": attention_mask}


def _segments(sequence: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of every row in a sequence: from BEGIN to the next BEGIN, padding or the end."""
    start = None
    for at, token in enumerate([*sequence, PAD]):
        if token in {BEGIN, PAD} and start is not None:
            yield start, at
            start = None
        if token == BEGIN:
            start = at


def _unwatched(rows: Sequence[int]) -> None:
    """Evaluation rows are recognised in the forward; their fetching says nothing."""
