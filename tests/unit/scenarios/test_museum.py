"""The museum's file: what it says, what is wrong with one, and which exhibits a name stands for."""

from __future__ import annotations

import pytest
from stepaudit.harness.contract import CONTRACTS, RULES
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import ScenarioError
from stepaudit.scenarios.museum import MUSEUM_FILE, load_museum, museum_path, parse_museum

GOOD = {
    "id": '"one"',
    "project": '"transformers"',
    "title": '"t"',
    "rule": '"window"',
    "bad": '"hf[transformers==4.26.1]"',
    "fixed": '"hf[transformers==4.28.1]"',
    "scenario": "{ rows = 9 }",
    "got": '"3 micro-batches"',
    "story": '"s"',
    "upstream": '"https://example.org"',
}


def text_of(**changes):
    table = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return 'schema = 1\ntitle = "t"\n[[exhibit]]\n' + "\n".join(
        f"{key} = {value}" for key, value in table.items()
    )


def test_the_committed_museum_names_what_exists():
    """Rules, contracts, subjects and scenarios of every exhibit; at least fifteen over at least five projects."""
    museum = load_museum(MUSEUM_FILE, rules=RULES)
    assert len(museum.exhibits) >= 15
    assert len({item.project for item in museum.exhibits}) >= 5
    for item in museum.exhibits:
        assert item.contract is None or item.contract in CONTRACTS
        for name in (item.bad, item.fixed):
            assert resolve(name).supports(item.scenario) is None, (item.id, name)


def test_the_museum_is_found_by_its_name_and_by_a_file(tmp_path):
    """Any other suite is none."""
    assert museum_path("museum") == MUSEUM_FILE
    assert museum_path("smoke") is None
    (tmp_path / "mine.toml").write_text(text_of())
    assert museum_path(str(tmp_path / "mine.toml")) == tmp_path / "mine.toml"
    (tmp_path / "suite.toml").write_text(
        'schema = 1\ntitle = "t"\nsubjects = ["hf"]\nscenario = [{ rows = 3 }]\n'
    )
    assert museum_path(str(tmp_path / "suite.toml")) is None
    assert museum_path(str(tmp_path / "missing.toml")) is None


def test_exhibits_are_chosen_by_project_or_subject():
    """A subject with or without its release; an unknown name shows the nearest."""
    museum = load_museum(MUSEUM_FILE)
    assert {item.project for item in museum.of(["lightning"]).exhibits} == {"lightning"}
    assert all("2026.10.5" in item.bad for item in museum.of(["unsloth-zoo@2026.10.5"]).exhibits)
    with pytest.raises(ScenarioError, match="no exhibit of 'lightnin'; did you mean 'lightning'"):
        museum.of(["lightnin"])


def test_only_the_two_of_an_exhibit_run_its_scenario():
    """Not every subject over every scenario."""
    museum = load_museum(MUSEUM_FILE)
    first, last = museum.exhibits[0], museum.exhibits[-1]
    assert museum.pairs(first.bad, first.scenario)
    assert museum.pairs(first.fixed, first.scenario)
    assert not museum.pairs(last.bad, first.scenario)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rule": '"windows"'}, "unknown rule 'windows'; did you mean 'window'?"),
        ({"got": None}, "key 'got' is missing"),
        ({"scenario": "{ row = 9 }"}, "unknown field 'row'; did you mean 'rows'?"),
        ({"fixed": '"hf[transformers==4.26.1]"'}, "bad and fixed are the same"),
        ({"upstream": '"somewhere"'}, "upstream"),
        ({"expires": "2026-01-01"}, "unknown key 'expires'"),
    ],
)
def test_a_wrong_exhibit_is_one_line_with_its_place(changes, why):
    """File, exhibit, value, nearest name."""
    with pytest.raises(ScenarioError) as error:
        parse_museum(text_of(**changes), name="mine", rules=RULES)
    assert str(error.value).startswith("mine.toml: exhibit 1 (one)")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_an_id_is_used_once():
    """Known deviations go by it."""
    twice = text_of() + "\n" + text_of().partition("[[exhibit]]")[1] + text_of().partition("[[exhibit]]")[2]
    with pytest.raises(ScenarioError, match="id 'one' is used by an earlier exhibit"):
        parse_museum(twice, name="mine")
