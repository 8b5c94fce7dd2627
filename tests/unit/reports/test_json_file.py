"""verdict.json: its schema is the committed one, and what is written can be read."""

import json
import math

import jsonschema
import pytest
from stepaudit.harness.judging.verdict import Verdict
from stepaudit.reports import read_verdict, schema
from stepaudit.reports.json_file import SCHEMA_FILE, schema_text, verdict_text


def test_the_committed_schema_is_the_models():
    """Whoever changes the models writes the schema again (`schema_text`) and thinks about SCHEMA_VERSION."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("which", ["founding_verdict", "hostile_verdict", "passed_verdict"])
def test_what_is_written_is_valid(verdicts, which):
    """Every verdict satisfies the published schema."""
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(verdict_text(getattr(verdicts, which)())), schema())


def test_round_trip(founding, tmp_path):
    """What is read is what was written."""
    path = tmp_path / "verdict.json"
    path.write_text(verdict_text(founding))
    assert read_verdict(path) == founding


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_survives(verdicts, tmp_path, value):
    """NaN and infinities are written as strings, are valid, and come back as themselves."""
    cell = verdicts.founding_cells()[0]
    books = cell.account.model_copy(
        update={"claimed": cell.account.claimed.model_copy(update={"epochs": value})}
    )
    verdict = verdicts.verdict_of(
        [cell.model_copy(update={"account": books, "seconds": value})], seconds=value
    )
    path = tmp_path / "verdict.json"
    path.write_text(verdict_text(verdict))
    jsonschema.validate(json.loads(path.read_text()), schema())
    back = read_verdict(path)
    for number in (back.seconds, back.cells[0].seconds, back.cells[0].account.claimed.epochs):
        assert number == value or (math.isnan(number) and math.isnan(value))


def test_every_float_of_the_models_can_come_back():
    """read_verdict knows the fields that hold floats by name; a new one must be added there."""
    names = set()

    def walk(part, name):
        if isinstance(part, dict):
            if {"enum": ["NaN", "Infinity", "-Infinity"]} in part.get("anyOf", []):
                names.add(name)
            for key, value in part.items():
                walk(value, name if key in {"anyOf", "items"} else key)
        elif isinstance(part, list):
            for value in part:
                walk(value, name)

    walk(schema(), "")
    assert names == {"seconds", "epochs"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99; this release reads 1"),
        ('{"schema_version": 1, "exit_code": "0"}', "is not a verdict: exit_code"),
        ("\x00\xff", "is not JSON"),
    ],
)
def test_what_is_no_verdict_is_refused(tmp_path, text, message):
    """The message names the file and the place."""
    path = tmp_path / "verdict.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message) as caught:
        read_verdict(path)
    assert str(path) in str(caught.value)


def test_lone_surrogates_are_replaced(verdicts):
    """Undecodable output of a trainer costs a character, not the verdict."""
    verdict = verdicts.passed_verdict().model_copy(update={"sentence": "a\ud800b"})
    assert Verdict.model_validate_json(verdict_text(verdict)).sentence == "a\ufffdb"
