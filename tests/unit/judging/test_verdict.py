"""The verdict as a file: frozen, strict, with the exit codes and the schema version that others rely on."""

from __future__ import annotations

import json
import re

import pytest
from hand_written import broken, judged, record
from pydantic import ValidationError
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.judging.comparison import RunSide, compare_runs
from stepaudit.harness.judging.timeline import Timeline, TimelineRow, timeline_cell
from stepaudit.harness.judging.verdict import ExitCode, Standing, Verdict


def a_verdict():
    return judged(broken())


def a_comparison():
    side = RunSide(source="here", verdict=a_verdict(), curves={})
    return compare_runs(side, side)


def a_timeline():
    cell = timeline_cell(record(4), CONTRACTS["token-mean"])
    row = TimelineRow(release="1", subject="loop", pair="asked for", packages={}, cells=[cell])
    return Timeline(
        package="loop", contract="token-mean", contract_title="t", command="c", packages={}, rows=[row]
    )


@pytest.fixture(params=[a_verdict, a_comparison, a_timeline])
def written(request):
    """What a command writes."""
    return request.param()


class TestFile:
    """What is written says its version, and is read strictly."""

    def test_version(self, written):
        """The first one."""
        assert json.loads(written.model_dump_json())["schema_version"] == 1

    def test_nothing_in_it_is_changed(self, written):
        """A report shows what was judged."""
        with pytest.raises(ValidationError, match="frozen"):
            written.schema_version = 1

    def test_what_is_not_known_is_refused(self, written):
        """A file of another release is not half understood."""
        table = json.loads(written.model_dump_json()) | {"more": 1}
        with pytest.raises(ValidationError, match="more"):
            type(written).model_validate_json(json.dumps(table))

    def test_a_number_as_text_is_refused(self, written):
        """No value is converted, at any depth."""
        text = written.model_dump_json()
        number = next(name for name in ("failing", "unchanged", "updates_due") if f'"{name}":' in text)
        wrong = re.sub(rf'"{number}":(\d+)', rf'"{number}":"\1"', text)
        assert wrong != text
        with pytest.raises(ValidationError, match=number):
            type(written).model_validate_json(wrong)


def test_exit_codes_are_those_that_scripts_test_for():
    """0 passed, 1 violated, 2 usage, 3 not judged, 4 nothing compared, 130 interrupted."""
    assert {code.name: int(code) for code in ExitCode} == {
        "PASSED": 0,
        "VIOLATED": 1,
        "USAGE": 2,
        "NOT_JUDGED": 3,
        "NOTHING": 4,
        "INTERRUPTED": 130,
    }


def test_what_fails_the_gate():
    """Everything that nobody has accepted, or that is not what was accepted."""
    assert {standing for standing in Standing if standing.fails} == {
        Standing.NEW,
        Standing.DRIFTED,
        Standing.EXPIRED,
    }


def test_a_verdict_from_before_there_were_informational_subjects_has_none():
    """It can still be compared with."""
    table = json.loads(judged(broken()).model_dump_json())
    del table["counts"]["informational"]
    assert Verdict.model_validate_json(json.dumps(table)).counts.informational == 0
