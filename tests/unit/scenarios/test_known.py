"""Known deviations: what an entry covers, when it has drifted or expired, and what the file refuses."""

from datetime import date

import pytest
from stepaudit.scenarios import Scenario, ScenarioError
from stepaudit.scenarios.known import load_known

ENTRY = {
    "id": '"hf-epoch"',
    "rule": '"epoch"',
    "subject": '"hf"',
    "versions": '["transformers>=5.0,<6"]',
    "where": '"dataset:iterable max_steps:>3"',
    "reason": '"why"',
    "upstream": '"link"',
    "owner": '"somebody"',
    "added": "2026-01-31",
    "expires": "2026-07-30",
}


@pytest.fixture
def write(tmp_path):
    def write(*entries, head="schema = 1"):
        tables = (
            "[[known]]\n" + "\n".join(f"{k} = {v}" for k, v in e.items() if v is not None) for e in entries
        )
        path = tmp_path / "known.toml"
        path.write_text("\n\n".join([head, *tables]), encoding="utf-8")
        return path

    return write


UNSIZED = Scenario(dataset="iterable", max_steps=5).to_mapping()
CELL = {
    "rule": "epoch",
    "subject": "hf",
    "scenario": UNSIZED,
    "packages": {"transformers": "5.23.0"},
    "numbers": {},
}


def test_the_committed_file_loads():
    """The file of the project is valid at any time."""
    load_known()


def test_an_entry_covers_its_cells_only(write):
    """Rule, subject, versions and scenario must all fit."""
    (entry,) = load_known(write(ENTRY))
    assert entry.covers(**CELL)
    other = Scenario(dataset="iterable", max_steps=3).to_mapping()
    for change in (
        {"rule": "target"},
        {"subject": "plain"},
        {"scenario": other},
        {"packages": {"transformers": "4.57.6"}},
        {"packages": {"transformers": "6.0.0"}},
        {"packages": {}},
    ):
        assert not entry.covers(**(CELL | change))
    with pytest.raises(ScenarioError, match="transformers has version 'main'"):
        entry.covers(**(CELL | {"packages": {"transformers": "main"}}))


def test_a_subject_may_be_a_glob_and_a_place_everywhere(write):
    """`*` stands for any version; an empty `where` means every scenario; no versions means any."""
    (entry,) = load_known(write(ENTRY | {"subject": '"unsloth-zoo@2024.*"', "where": '""', "versions": None}))
    scenario = Scenario().to_mapping()
    everywhere = {"rule": "epoch", "scenario": scenario, "packages": {}, "numbers": {}}
    assert entry.covers(subject="unsloth-zoo@2024.10.0", **everywhere)
    assert not entry.covers(subject="unsloth-zoo@2026.10.5", **everywhere)


def test_a_condition_on_the_contracts_symbols_narrows_an_entry(write):
    """`when` holds or does not by the numbers of the cell; a symbol that has no value there is an error."""
    (entry,) = load_known(write(ENTRY | {"when": '"M % A > 0 and T >= U"'}))
    assert entry.covers(**(CELL | {"numbers": {"M": 5, "A": 2, "T": 3, "U": 3}}))
    assert not entry.covers(**(CELL | {"numbers": {"M": 4, "A": 2, "T": 3, "U": 2}}))
    assert not entry.covers(**(CELL | {"numbers": {"M": 5, "A": 2, "T": 2, "U": 3}}))
    with pytest.raises(ScenarioError, match="needs A"):
        entry.covers(**CELL)


def test_the_wrong_value_is_part_of_what_is_known(write):
    """Another wrong value than the known one is a drift: exact text, formula, or any if neither is given."""
    (exact,) = load_known(write(ENTRY | {"got": '"7"'}))
    assert exact.agrees("7", {})
    assert exact.agrees(7, {})
    assert not exact.agrees("8", {})
    (formula,) = load_known(write(ENTRY | {"got_formula": '"max_steps * ceil(T / U)"'}))
    assert formula.agrees(16, {"max_steps": 8, "T": 8, "U": 7})
    assert not formula.agrees(8, {"max_steps": 8, "T": 8, "U": 7})
    assert not formula.agrees("16", {"max_steps": 8, "T": 8, "U": 7})
    with pytest.raises(ScenarioError, match="needs U"):
        formula.agrees(16, {"max_steps": 8, "T": 8})
    (ratio,) = load_known(write(ENTRY | {"got_formula": '"1 / R"'}))
    assert ratio.agrees(round(1 / 3, 9), {"R": 3})  # as rule `weight` reports it
    assert not ratio.agrees(0.3333333, {"R": 3})
    assert ratio.agrees(0.3333333, {"R": 3}, 1e-6)  # a weight by projection
    assert not ratio.agrees(0.33333, {"R": 3}, 1e-6)
    (anything,) = load_known(write(ENTRY))
    assert anything.agrees("whatever", {})


def test_an_entry_expires(write):
    """It counts on its last day and not on the next."""
    (entry,) = load_known(write(ENTRY))
    assert not entry.is_expired(date(2026, 7, 30))
    assert entry.is_expired(date(2026, 7, 31))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ruel": '"x"'}, "unknown key 'ruel' = 'x'; did you mean 'rule'?"),
        ({"rule": None}, "key 'rule' is missing"),
        ({"rule": '"targt"'}, "unknown rule 'targt'; did you mean 'target'?"),
        ({"rule": "7"}, "rule = 7: input should be a valid string"),
        ({"owner": '""'}, "owner = '': string should have at least 1 character"),
        ({"id": '"Has Space"'}, "id = 'Has Space': string should match pattern"),
        ({"where": '"acum:1"'}, "unknown field 'acum'; did you mean 'accum'?"),
        ({"where": '"verdict:deviates"'}, "unknown field 'verdict'"),
        ({"got": '"1"', "got_formula": '"T"'}, "got = '1' and got_formula = 'T'; write one of them"),
        ({"got": "7"}, "got = 7: input should be a valid string"),
        ({"got_formula": '"T + V"'}, "formula 'T + V' names 'V'; valid: rows"),
        ({"expires": "2026-07-31"}, "expires = 2026-07-31 must lie within 180 days after added = 2026-01-31"),
        ({"expires": "2026-01-30"}, "expires = 2026-01-30 must lie within 180 days after added = 2026-01-31"),
        ({"expires": '"2026-07-30"'}, "expires = '2026-07-30': input should be a valid date"),
        ({"versions": '["transformers"]'}, "versions has 'transformers'; write a package and a range"),
        ({"versions": '["transformers=>5"]'}, "versions has 'transformers=>5'"),
        ({"versions": '"transformers>=5"'}, "versions = 'transformers>=5': input should be a valid list"),
    ],
)
def test_a_bad_entry_is_one_line_with_its_place(write, change, message):
    """The error names file, entry, value and nearest valid name."""
    with pytest.raises(ScenarioError) as caught:
        load_known(write(ENTRY | change), rules=("target", "epoch", "leak"))
    text = str(caught.value)
    assert text.startswith("known.toml: entry 1 (")
    assert message in text
    assert "\n" not in text


def test_an_id_is_used_once(write):
    """Two entries of one name would hide each other."""
    with pytest.raises(
        ScenarioError, match=r"entry 2 \(hf-epoch\): id 'hf-epoch' is used by an earlier entry"
    ):
        load_known(write(ENTRY, ENTRY))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("schema = 2", "known.toml: schema has no value 2; valid: 1"),
        ("", "known.toml: key 'schema' is missing"),
        ("schema = 1\nknwon = 3", "known.toml: unknown key 'knwon' = 3; did you mean 'known'?"),
        ("schema = ", "known.toml: is not TOML: Invalid value"),
    ],
)
def test_a_bad_file_is_one_line(write, head, message):
    """Schema, keys and syntax are checked before any entry."""
    path = write(head=head)
    with pytest.raises(ScenarioError) as caught:
        load_known(path)
    assert message in str(caught.value)
    with pytest.raises(ScenarioError, match="no such file"):
        load_known(path.with_name("absent.toml"))
