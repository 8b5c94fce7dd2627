"""The museum judged: an exhibit passes only where its bad release is seen to deviate as told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_written import broken, failed, judged, record
from stepaudit.harness.judging.museum import exhibit_terms, exhibits_shown, museum_sentence, places_of
from stepaudit.harness.judging.verdict import CellOutcome
from stepaudit.harness.ledger import Claims
from stepaudit.scenarios.museum import parse_museum

EXHIBIT = """
schema = 1
title = "t"
[[exhibit]]
id = "one"
project = "hf"
title = "too many updates"
rule = "target"
bad = "bad"
fixed = "fixed"
scenario = {}
got = "GOT"
story = "what happened"
upstream = "https://example.org/1"
"""


def museum_of(got):
    return parse_museum(EXHIBIT.replace("GOT", got), name="museum", rules={"target"})


def shown(bad, fixed, got):
    """The exhibit and the verdict, of one record as the bad and one as the fixed release."""
    records = [
        replace(item, subject=name, cell_id=name * 8)
        for name, item in (("bad", bad), ("fixed", fixed))
        if item
    ]
    (exhibit,) = museum_of(got).exhibits
    exhibit = replace(exhibit, scenario=bad.scenario)
    places = places_of(records)
    verdict = judged(*records, terms=exhibit_terms([exhibit], places))
    (found,) = exhibits_shown([exhibit], verdict.cells, places)
    return found, verdict


@pytest.fixture
def wrong():
    """What the rule `target` says of the broken record."""
    verdict = judged(broken())
    return next(item.got for item in verdict.cells[0].deviations if item.rule == "target")


def test_an_exhibit_that_is_seen_as_told_passes(wrong):
    """The deviation is known, the fixed release keeps the rule, no other rule is asked."""
    found, verdict = shown(broken(), record(4), wrong)
    assert found.confirmed
    assert (found.bad.got, found.fixed.got) == (wrong, "")
    assert verdict.exit_code == 0
    assert all(cell.rules_checked == ["target"] for cell in verdict.cells)
    assert museum_sentence([found]).startswith("1 of 1 exhibits confirmed")


def test_a_bad_release_that_conforms_fails_the_gate():
    """An auditor that has gone blind does not pass its museum."""
    found, verdict = shown(record(4), record(4), "3 optimizer steps")
    assert not found.confirmed
    assert "keeps the rule" in found.trouble
    assert verdict.exit_code == 1
    assert verdict.counts.stale == 1


def test_another_wrong_value_is_a_drift():
    """The exhibit tells what was seen to the letter."""
    found, verdict = shown(broken(), record(4), "99 optimizer steps")
    assert "where the exhibit tells of 99 optimizer steps" in found.trouble
    assert verdict.counts.drifted == 1
    assert verdict.exit_code == 1


def test_a_fixed_release_that_breaks_the_rule_fails_the_gate(wrong):
    """An auditor that cries wolf does not pass its museum either."""
    found, verdict = shown(broken(), broken(), wrong)
    assert "breaks the rule too" in found.trouble
    assert verdict.counts.new == 1
    assert verdict.exit_code == 1


def test_an_exhibit_whose_bad_release_did_not_run_still_judges_the_fixed_one():
    """By its rule, and knowing nothing about it."""
    exhibit = museum_of("1 optimizer step").exhibits[0]
    terms = exhibit_terms([exhibit], {("fixed", exhibit.scenario.label): "f"})
    assert set(terms) == {"f"}
    assert (terms["f"].rules, terms["f"].known) == (frozenset({"target"}), ())


def test_a_cell_of_two_exhibits_is_judged_by_both(wrong):
    """Each shows what its own rule finds, and both known deviations are known."""
    exhibit = museum_of(wrong).exhibits[0]
    claim = replace(exhibit, id="two", rule="claim", got="global_step 5")
    bad = replace(broken(claims=Claims(global_step=5)), subject="bad", cell_id="b")
    fixed = replace(record(4, claims=Claims(global_step=4)), subject="fixed", cell_id="f")
    exhibits = [replace(item, scenario=bad.scenario) for item in (exhibit, claim)]
    places = places_of([bad, fixed])
    verdict = judged(bad, fixed, terms=exhibit_terms(exhibits, places))
    target, claimed = exhibits_shown(exhibits, verdict.cells, places)
    assert verdict.cells[1].rules_checked == ["target", "claim"]
    assert (target.confirmed, target.bad.got) == (True, wrong)
    assert claimed.bad.got == next(item.got for item in verdict.cells[0].deviations if item.rule == "claim")
    assert claimed.bad.got != wrong


def test_the_sentence_tells_of_the_first_exhibit_that_is_not_confirmed(wrong):
    """Not of those that are."""
    good, _ = shown(broken(), record(4), wrong)
    bad, _ = shown(broken(), None, wrong)
    assert museum_sentence([good, bad]) == "1 of 2 exhibits confirmed; `one`: fixed did not run."
    assert museum_sentence([good, good]).startswith("2 of 2 exhibits confirmed: ")


@pytest.mark.parametrize(
    ("subject", "release"),
    [
        ("hf", "hf"),
        ("unsloth-zoo@2024.9", "unsloth-zoo 2024.9"),
        ("hf[transformers==4.45.0]", "transformers 4.45.0"),
        ("hf[transformers==4.45.0,torch==2.4]", "transformers 4.45.0, torch 2.4"),
    ],
)
def test_a_release_is_the_package_that_makes_the_difference(wrong, subject, release):
    """Its pins, or its name and version."""
    exhibit = replace(museum_of(wrong).exhibits[0], bad=subject)
    (found,) = exhibits_shown([exhibit], [], {})
    assert (found.bad.subject, found.bad.release, found.bad.cell_id) == (subject, release, None)


def test_what_did_not_run_is_not_confirmed(wrong):
    """An error of either release is exit code 3, and is said."""
    found, verdict = shown(failed(), record(4), wrong)
    assert found.bad.verdict is CellOutcome.ERROR
    assert found.trouble.startswith("bad: error: ")
    assert verdict.exit_code == 3
    missing, _ = shown(broken(), None, wrong)
    assert missing.trouble == "fixed did not run"
    assert "0 of 1 exhibits confirmed; `one`: fixed did not run" in museum_sentence([missing])
