"""Which releases go together."""

from __future__ import annotations

import pytest
from packaging.version import Version
from stepaudit.scenarios import ScenarioError
from stepaudit.scenarios.companions import companions_of, load_companions


def test_companions_are_followed_in_turn():
    """trl names its transformers, that its accelerate."""
    found = companions_of({"trl": "0.9.6"})
    assert {"transformers", "datasets", "accelerate", "huggingface-hub"} <= set(found)
    assert found["accelerate"] == companions_of({"transformers": found["transformers"]})["accelerate"]


def test_what_was_asked_for_is_no_companion():
    """The version on the command line stands, and its own companions come with it."""
    found = companions_of({"trl": "0.9.6", "transformers": "4.45.2"})
    assert "transformers" not in found
    assert found["accelerate"] == "1.0.1"


def test_a_release_that_no_entry_covers_has_none():
    """It runs with what the base has."""
    assert companions_of({"transformers": "99.0.0"}) == {}
    assert companions_of({"no-such-package": "1.0"}) == {}
    assert companions_of({"transformers": "not a version"}) == {}


def test_every_entry_names_releases_that_could_be_installed():
    """No range is empty by mistake, no range is given twice, and versions are versions."""
    entries = load_companions()
    assert len({(entry.package, str(entry.versions)) for entry in entries}) == len(entries)
    for entry in entries:
        assert all(Version(version) for version in entry.pins.values())
        assert entry.package not in entry.pins


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('{ package = "a", versions = "about 4", with = ["b==1"] }', "'about 4' is no range"),
        ('{ package = "a", versions = ">=4", with = ["b>=1"] }', "'b>=1'; write an exact release"),
        ('{ package = "a", versions = ">=4", with = [] }', "with"),
        ('{ package = "a", versions = ">=4", with = ["b==1"], version = "4" }', "did you mean 'versions'"),
    ],
)
def test_a_wrong_entry_is_one_line_with_its_place(tmp_path, entry, why):
    """File, number of the entry, value."""
    (tmp_path / "companions.toml").write_text(f"schema = 1\ncompanions = [{entry}]\n")
    with pytest.raises(ScenarioError) as error:
        load_companions(tmp_path / "companions.toml")
    assert str(error.value).startswith("companions.toml: entry 1: ")
    assert why in str(error.value)
