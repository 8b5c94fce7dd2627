"""The selection grammar: what it selects, what it refuses, and that it can be written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.scenarios import Scenario, ScenarioError
from stepaudit.scenarios.selection import FieldTerm, FlagTerm, Selection, parse_selection
from stepaudit.scenarios.selection_terms import Between, Compare, Text
from stepaudit.scenarios.vocabulary import CELL_VOCABULARY, SCENARIO_VOCABULARY, Field, FieldKind

CELL = Scenario(grad_accum=4, max_steps=7, epochs=1.5, drop_last=True).to_mapping() | {
    "id": "c1:ab 12",
    "suite": "default",
    "subject": "unsloth-zoo@2026.10.5",
    "rule": ["target", "schedule"],
    "verdict": "deviates",
    "standing": "new",
    "contract": "hf-5",
    "known": False,
    "new": True,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  accum:4  ",
        "grad-accum:>1 grad_accum:>=4 accum:<5 accum:<=4",
        "accum:2..8",
        "accum:..4 accum:4.. epochs:..1.5",
        "accum:1,2..3,>3",
        "epochs:1.5 epochs:>1",
        "max_steps:>3",
        "!max_steps:none",
        "resume_at:none",
        "!resume_at:>0",
        "subject:unsloth-zoo",
        "subject:unsloth-zoo@2026.10.5",
        "subject:trl,unsloth-zoo@2026.*",
        "verdict:deviates !known new",
        "rule:target",
        "rule:leak,schedule",
        "!rule:leak",
        "drop_last drop_last:true !drop_last:false",
        "schedule:lin*",
        'id:"c1:ab 12"',
        'subject:"unsloth-zoo@2026.10.5"',
        "dataset:sized protocol:none,honoured",
    ],
)
def test_what_selects_the_cell(text):
    """Each of these texts is true of the cell, also after being written back."""
    selection = parse_selection(text)
    assert selection.matches(CELL)
    assert parse_selection(str(selection)) == selection
    assert selection.select([CELL, CELL]) == [CELL, CELL]


@pytest.mark.parametrize(
    "text",
    [
        "accum:>4",
        "accum:<4",
        "accum:5..8",
        "accum:..3",
        "accum:4.5..",
        "max_steps:none",
        "resume_at:>0",
        "resume_at:0..9",
        "subject:unsloth",
        "subject:zoo",
        "verdict:conforms",
        "known",
        "!new",
        "!rule:target",
        "!rule:leak,target",
        "accum:4 verdict:conforms",
        "!drop_last",
        'id:"c1:ab"',
    ],
)
def test_what_does_not_select_the_cell(text):
    """Each of these texts is false of the cell."""
    assert not parse_selection(text).matches(CELL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subjet:trl", "unknown field 'subjet'; did you mean 'subject'?"),
        ("acum:1", "unknown field 'acum'; did you mean 'accum'?"),
        ("knwon", "unknown flag 'knwon'; did you mean 'known'?"),
        ("!subject", "unknown flag 'subject'; did you mean 'subject:'?"),
        ("verdict:deviate", "verdict has no value 'deviate'; did you mean 'deviates'?"),
        ("verdict:x*", "verdict has no value 'x*'; valid: conforms"),
        ("schedule:linaer", "lr_schedule has no value 'linaer'; did you mean 'linear'?"),
        ("drop_last:yes", "drop_last has no value 'yes'"),
        ("accum:two", "grad_accum holds numbers, not 'two'"),
        ("accum:true", "grad_accum holds numbers, not 'true'"),
        ("accum:none", "grad_accum holds numbers, not 'none'"),
        ('accum:"4"', "grad_accum holds numbers, not '4'"),
        ("accum:>", "grad_accum holds numbers, not ''"),
        ("accum:>>1", "grad_accum holds numbers, not '>1'"),
        ("accum:=4", "grad_accum holds numbers, not '=4'"),
        ("epochs:nan", "epochs holds numbers, not 'nan'"),
        ("epochs:>1e999", "epochs holds numbers, not '1e999'"),
        ("accum:8..2", "grad_accum:8..2 is an empty range; write 2..8"),
        ("accum:..", "grad_accum holds numbers, not ''"),
        ("accum:1..x", "grad_accum holds numbers, not 'x'"),
        ("accum:", "cannot read 'accum:'"),
        ("accum:1,", "cannot read 'accum:1,'"),
        ("accum:,1", "cannot read 'accum:,1'"),
        ("accum:1 !", "cannot read '!'"),
        ("!!known", "cannot read '!!known'"),
        ("subject:>2", "subject holds text, so '>2' compares nothing"),
        ('id:"ab', "selection 'id:\"ab' has a quote that does not end"),
        ('id:"ab"c', "cannot read 'id:\"ab\"c'"),
    ],
)
def test_a_bad_text_is_one_line_with_the_value(text, message):
    """Every refusal shows the word and, for a name, the nearest valid one."""
    with pytest.raises(ScenarioError) as caught:
        parse_selection(text)
    assert str(caught.value).startswith(message)


def test_a_record_without_the_field_is_an_error():
    """Selecting by a field that the records lack must not look like a selection that found nothing."""
    with pytest.raises(ScenarioError, match="cannot select by 'subject': the record has no such field"):
        parse_selection("subject:hf").matches(Scenario().to_mapping())


def test_the_scenario_vocabulary_knows_no_verdicts():
    """What is known about a deviation is said in scenario fields; a verdict there is a misunderstanding."""
    with pytest.raises(ScenarioError, match="unknown field 'verdict'"):
        parse_selection("verdict:deviates", SCENARIO_VOCABULARY)


def test_a_vocabulary_can_be_extended():
    """A caller adds fields, words and flags of its own."""
    words = Field(kind=FieldKind.WORD, choices=("target", "leak"))
    wider = CELL_VOCABULARY.extended(fields={"rule": words}, flags=("cached",))
    assert parse_selection("rule:leak !cached", wider).matches({"rule": "leak"})
    with pytest.raises(ScenarioError, match="rule has no value 'targt'; did you mean 'target'"):
        parse_selection("rule:targt", wider)


numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
numeric_terms = st.one_of(
    st.builds(
        lambda sign, n: Compare(sign=sign, number=n), st.sampled_from(["", ">", ">=", "<", "<="]), numbers
    ),
    st.tuples(numbers, numbers).map(lambda pair: Between(low=min(pair), high=max(pair))),
)
words = st.text(min_size=1, max_size=12).map(lambda text: Text(text=text))
terms = st.one_of(
    st.builds(FlagTerm, flag=st.sampled_from(CELL_VOCABULARY.flags), negated=st.booleans()),
    st.builds(
        FieldTerm,
        name=st.sampled_from(["grad_accum", "max_steps", "epochs", "rows"]),
        conditions=st.lists(numeric_terms, min_size=1, max_size=3).map(tuple),
        negated=st.booleans(),
    ),
    st.builds(
        FieldTerm,
        name=st.sampled_from(["id", "subject", "rule"]),
        conditions=st.lists(words, min_size=1, max_size=3).map(tuple),
        negated=st.booleans(),
    ),
)


@given(st.lists(terms, max_size=5).map(lambda items: Selection(terms=tuple(items))))
def test_every_selection_can_be_written_and_read(selection):
    """Text and selection are two forms of one thing, for any words, quotes and numbers."""
    assert parse_selection(str(selection)) == selection


@given(st.text(max_size=40))
def test_any_text_parses_or_is_one_clear_error(text):
    """No text leads to another exception; what parses can be written and read again."""
    try:
        selection = parse_selection(text)
    except ScenarioError:
        return
    assert parse_selection(str(selection)) == selection


@given(st.lists(numeric_terms, min_size=1, max_size=4).map(tuple), st.integers(-50, 50) | st.none())
def test_negation_is_the_complement_and_comma_is_or(conditions, value):
    """A term and its negation never agree; alternatives together match what one of them matches."""
    cell = {"rows": value}
    positive = FieldTerm(name="rows", conditions=conditions)
    assert positive.matches(cell) is not FieldTerm(name="rows", conditions=conditions, negated=True).matches(
        cell
    )
    single = [FieldTerm(name="rows", conditions=(condition,)).matches(cell) for condition in conditions]
    assert positive.matches(cell) is any(single)


def test_nan_matches_no_number():
    """A loss that is NaN is in no range and equals nothing."""
    term = FieldTerm(name="epochs", conditions=(Between(low=-9, high=9), Compare(sign="", number=0)))
    assert not term.matches({"epochs": float("nan")})
