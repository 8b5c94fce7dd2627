"""junit.xml: the shape of the Ant and Jenkins schemas, one verdict a test case."""

import re
from xml.etree import ElementTree as ET

import pytest
from lxml import etree
from stepaudit.harness.judging.verdict import GateTerms, MissedFloor
from stepaudit.reports.junit import junit_text

SUITE_ATTRIBUTES = {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}
TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def parsed(verdict):
    return ET.fromstring(junit_text(verdict).encode())


@pytest.mark.parametrize("which", ["founding_verdict", "hostile_verdict", "passed_verdict"])
def test_shape(verdicts, which):
    """Elements, attributes and counts are those that the schemas of Ant and Jenkins allow."""
    root = parsed(getattr(verdicts, which)())
    assert root.tag == "testsuites"
    assert set(root.attrib) == {"name", "tests", "failures", "errors", "time"}
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == SUITE_ATTRIBUTES
        assert TIME.fullmatch(suite.get("time"))
        for case in suite:
            assert case.tag == "testcase"
            assert set(case.attrib) == {"classname", "name", "time"}
            assert len(case) <= 1
            assert all(part.tag in {"failure", "error", "skipped"} for part in case)
            assert all(set(part.attrib) <= {"type", "message"} for part in case)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(attribute)) == len(suite.findall(f"testcase/{tag}"))
        assert int(suite.get("tests")) == len(suite)
    assert int(root.get("tests")) == len(root.findall("testsuite/testcase"))


def test_each_verdict_has_its_result(founding):
    """A known deviation and an unsupported cell are skips; no cell without a verdict is a pass."""
    cases = parsed(founding).findall("testsuite/testcase")
    found = [case[0].get("type") or case[0].get("message") for case in cases if len(case)]
    assert found.count("new") == 4
    assert {"drifted", "expired", "flaky", "exception", "stale"} <= set(found)
    assert "known deviation: hf-iterable-epoch" in found
    assert "unsupported: needs a sized dataset to plan its epochs" in found
    assert len(cases) - len(found) == founding.counts.conforms


def test_a_failure_carries_the_evidence(founding):
    """The first line of a failure says rule, expected and got; its text has the reproduce line."""
    failure = parsed(founding).find("testsuite[@name='unsloth-zoo@2024.10.0']/testcase/failure")
    assert failure.get("message").startswith(
        "target, plan: expected 350 optimizer steps, got 700 optimizer steps"
    )
    assert "T = max_steps = 350" in failure.text
    assert "books part at event 5,251, update 351" in failure.text
    assert re.search(r"^Reproduce with: stepaudit replay \w+$", failure.text, re.MULTILINE)


def test_nothing_compared_is_not_a_pass(verdicts):
    """An empty run has a test case with an error; CI servers take an empty file for green."""
    root = parsed(verdicts.verdict_of([], stale=[], sentence="Nothing was selected."))
    assert root.find("testsuite/testcase/error").get("message") == "Nothing was selected."


def test_a_deviation_that_no_rule_explains_fails(founding, verdicts):
    """A cell that deviates without naming a rule is a fault of the judge, and no skip."""
    cell = founding.cells[3].model_copy(update={"deviations": []})
    assert parsed(verdicts.verdict_of([cell], stale=[])).find("testsuite/testcase/failure") is not None


@pytest.fixture(scope="module")
def jenkins(root):
    """Jenkins' schema."""
    return etree.XMLSchema(etree.parse(root / "tests" / "data" / "jenkins-junit.xsd"))


@pytest.mark.parametrize("which", ["founding_verdict", "hostile_verdict", "passed_verdict", "gate_missed"])
def test_valid_against_the_schema_of_jenkins(verdicts, jenkins, which):
    """Every element, attribute and time, whatever a trainer's text is like."""
    if which == "gate_missed":
        missed = MissedFloor(term="min_cells", limit=9, got=1, text="min_cells = 9: judged 1")
        gate = GateTerms(source="pyproject.toml", min_cells=9, informational=[], missed=[missed])
        verdict = verdicts.founding_verdict().model_copy(update={"gate": gate})
    else:
        verdict = getattr(verdicts, which)()
    jenkins.assertValid(etree.fromstring(junit_text(verdict).encode()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<testcase ", '<testcase colour="red" '),
        ("<failure ", "<failed "),
        (' errors="', ' erors="'),
        ('time="', 'time="1:'),
    ],
)  # fmt: skip
def test_the_schema_sees_what_is_wrong(founding, jenkins, old, new):
    """A schema that takes everything proves nothing."""
    text = (
        junit_text(founding)
        .replace(old, new)
        .replace("</failure>", "</failed>" if "failed" in new else "</failure>")
    )
    assert not jenkins.validate(etree.fromstring(text.encode()))


def test_a_missed_floor_is_a_failure(founding):
    """CI servers that read nothing but this file see the gate fail."""
    missed = MissedFloor(term="min_cells", limit=9, got=1, text="min_cells = 9: judged 1")
    gate = GateTerms(source="pyproject.toml", min_cells=9, informational=[], missed=[missed])
    found = parsed(founding.model_copy(update={"gate": gate})).find("testsuite[@name='gate']/testcase")
    assert (found.get("name"), found.find("failure").get("message")) == (
        "min_cells",
        "min_cells = 9: judged 1",
    )
