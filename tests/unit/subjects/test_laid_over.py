"""Releases laid over a subject: the grammar of its name, and what the laid subject says of itself."""

from __future__ import annotations

import pytest
from stepaudit.harness.subjects import SubjectError, resolve
from stepaudit.harness.subjects.environment import version_in
from stepaudit.harness.subjects.laid_over import bare_name, laid_over, pins_of, with_pins


def test_a_name_carries_its_releases():
    """Order stays, names are in their normal form, spaces do not count."""
    assert pins_of("hf[Transformers == 4.45.2, huggingface_hub==0.25.2]") == (
        "hf",
        ("transformers==4.45.2", "huggingface-hub==0.25.2"),
    )
    assert pins_of("hf") == ("hf", ())
    assert bare_name("unsloth-zoo@2026.10.5[transformers==4.57.6]") == "unsloth-zoo@2026.10.5"


def test_brackets_elsewhere_in_a_path_are_the_paths():
    """Only a bracket at the end holds releases."""
    assert pins_of("runs[old]/loop.py:train") == ("runs[old]/loop.py:train", ())


@pytest.mark.parametrize("inside", ["transformers", "transformers>=4.45", "", "a==1,", "a==1,A==2"])
def test_what_is_no_exact_release_is_refused(inside):
    """A range would give two machines two environments under one id."""
    with pytest.raises(SubjectError):
        resolve(f"hf[{inside}]")


def test_a_later_pin_of_a_package_counts():
    """`--with` over a name that has releases already."""
    assert with_pins("hf[transformers==4.45.2,numpy==2.0.0]", ["transformers==4.46.1"]) == (
        "hf[numpy==2.0.0,transformers==4.46.1]"
    )
    assert with_pins("hf", []) == "hf"


def test_the_contract_follows_the_release_that_is_laid_over():
    """Not the installed one, and not that of the process that asks."""
    assert resolve("hf[transformers==4.45.2]").contract != resolve("hf").contract
    assert resolve("hf[transformers==5.5.4]").contract == "hf-5"


def test_a_laid_subject_is_identified_by_what_is_laid_over():
    """Packages that it did not name before belong to its identity now; the interpreter is no package."""
    laid = resolve("hf[transformers==4.45.2,tokenizers==0.20.3,python==3.11]")
    assert laid.name == "hf[transformers==4.45.2,tokenizers==0.20.3,python==3.11]"
    assert laid.packages == (*resolve("hf").packages, "tokenizers")
    assert version_in("tokenizers", laid.environment) == "0.20.3"
    assert version_in("transformers", laid.environment) == "4.45.2"


def test_a_subjects_own_environment_stays_below():
    """Its variables and what it lays over without looking at its needs are still there."""
    own = resolve("unsloth-zoo@2026.10.5").environment
    laid = resolve("unsloth-zoo@2026.10.5[transformers==4.57.6,dill==0.3.8]").environment
    assert own.variables.items() <= laid.variables.items()
    assert "unsloth_zoo==2026.10.5" in laid.requirements
    assert not any(pin.startswith("dill") for pin in laid.requirements)


def test_the_registered_subject_is_not_touched():
    """Laying over makes another subject."""
    subject = resolve("hf")
    laid_over(subject, ("transformers==4.45.2",))
    assert subject.name == "hf"
    assert subject.environment is None


def test_a_subject_that_does_not_let_itself_be_changed_says_so():
    """A plug-in whose environment is a property of its class."""

    class Fixed(type(resolve("hf"))):
        environment = property(lambda self: None)

    with pytest.raises(SubjectError, match=r"'hf' cannot be laid over"):
        laid_over(Fixed(), ("transformers==4.45.2",))
