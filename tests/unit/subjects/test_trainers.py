"""Trainers that bring their own packages: names, environments, contracts and reasons, without any of the packages."""

from __future__ import annotations

import subprocess
import sys

import pytest
from stepaudit.harness.contract import CONTRACTS, expect
from stepaudit.harness.subjects import Subject, resolve, subject_names, suited
from stepaudit.harness.subjects.capabilities import FEATURES, Standing, capabilities_of
from stepaudit.harness.subjects.unavailable import UNAVAILABLE
from stepaudit.scenarios import ModelKind, Scenario, Tier
from stepaudit.scenarios.known import load_known

OVERLAID = {
    "trl-sft": "trl",
    "trl-sft-packing": "trl",
    "trl-sft-completion": "trl",
    "unsloth": "unsloth",
    "unsloth-lora": "unsloth",
    "liger": "liger-kernel",
    "lightning": "lightning",
    "fabric": "lightning",
}
OF_THE_BASE = (
    "hf-seq2seq",
    "hf-own-tokens",
    "accelerate-split-batches",
    "accelerate-own-schedule",
    "accelerate-uneven-batches",
)
NO_TRACER = ("trl-sft", "trl-sft-packing", "trl-sft-completion", "unsloth", "unsloth-lora", "liger")
REAL = {"tier": "numeric", "model": "tiny-llama"}


@pytest.mark.parametrize("name", [*OVERLAID, *OF_THE_BASE])
def test_protocol(name):
    """Every name is registered, is a subject of that name, and names a contract that exists."""
    subject = resolve(name)
    assert name in subject_names()
    assert isinstance(subject, Subject)
    assert subject.name == name
    assert subject.contract in CONTRACTS


@pytest.mark.parametrize(("name", "package"), OVERLAID.items())
def test_a_package_that_is_not_installed_is_laid_over_in_an_exact_release(name, package):
    """Where the base environment lacks the package, the environment pins it; it is among those that make the id."""
    subject = resolve(name)
    assert package in subject.packages
    if subject.environment is not None:
        assert package in subject.environment.pins


@pytest.mark.parametrize("name", ["trl-sft@1.10.0", "lightning@2.5.0", "hf@4.57.6"])
def test_a_release_is_asked_for_by_its_number(name):
    """`NAME@VERSION` is `NAME[package==VERSION]`, under that name in every record."""
    subject = resolve(name)
    base, _, release = name.partition("@")
    assert subject.name.startswith(f"{base}[")
    assert release in subject.environment.pins.values()


def test_asking_imports_nothing():
    """Resolving and asking what is supported loads none of the trainers' libraries, nor torch."""
    code = (
        "import sys\n"
        "from stepaudit.harness.subjects import resolve, suited\n"
        "from stepaudit.scenarios import Scenario\n"
        f"for name in {[*OVERLAID, *OF_THE_BASE]!r}:\n"
        "    subject = resolve(name)\n"
        "    subject.supports(suited(subject, Scenario()))\n"
        "loaded = {'torch', 'transformers', 'trl', 'lightning', 'unsloth', 'datasets'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.parametrize("name", NO_TRACER)
def test_a_trainer_that_takes_no_tracer_is_given_a_real_model(name):
    """The scenario stays what it is in every other field; without that the subject declines."""
    subject = resolve(name)
    asked = Scenario(rows=8, lengths="equal")
    given = suited(subject, asked)
    assert given.tier is Tier.NUMERIC
    assert given.model in {ModelKind.TINY_LLAMA, ModelKind.TINY_LLAMA_LORA}
    assert given.with_(tier="trace", model="tracer") == asked
    assert subject.supports(given) is None
    assert "model tracer" in subject.supports(asked)


def test_others_keep_the_tracer():
    """A subject that lets the model compute its loss gets the scenario as it is."""
    for name in ("hf", "lightning", "fabric", "hf-seq2seq"):
        assert suited(resolve(name), Scenario()) == Scenario()


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("lightning", {"epochs": 1.5}, "max_epochs is a whole number"),
        ("lightning", {"max_steps": 0}, "makes no update"),
        ("lightning", {"dataset": "iterable", "max_steps": 50}, "how long its schedule"),
        ("lightning", {"rows": 9, "grad_accum": 2, "eval_steps": 2}, "val_check_interval counts micro-batches"),
        ("lightning", {"rows": 1, "grad_accum": 2, "eval_steps": 1}, "val_check_interval counts micro-batches"),
        ("lightning", {**REAL, "precision": "fp16"}, "precision fp16"),
        ("fabric", {"loss_protocol": "overridden"}, "takes its loss from the model"),
        ("trl-sft-packing", REAL, "lengths ragged"),
        ("trl-sft-packing", {**REAL, "lengths": "equal", "rows": 9, "drop_last": True}, "odd number of rows"),
        ("trl-sft", {**REAL, "rows": 1, "drop_last": True}, "loader of length 0"),
        ("unsloth", {**REAL, "loss_protocol": "none"}, "Llama's own forward"),
        ("unsloth", {**REAL, "model": "tiny-llama-lora"}, "unsloth trains tiny-llama"),
        ("unsloth-lora", REAL, "unsloth-lora trains tiny-llama-lora"),
        ("liger", {**REAL, "epochs": 3.0}, "Triton's interpreter takes a second"),
        ("trl-sft", {**REAL, "ranks": 2}, "ranks 2"),
        ("accelerate-uneven-batches", {"ranks": 2}, "join_uneven_inputs"),
    ],
)  # fmt: skip
def test_what_is_declined_has_a_reason(name, fields, reason):
    """The reason is about the field that stands in the way."""
    assert reason in resolve(name).supports(Scenario(**fields))


@pytest.mark.parametrize("name", ["trl-sft", "trl-sft-packing", "trl-sft-completion"])
def test_a_release_of_trl_that_is_too_old_is_declined_by_its_number(name):
    """The reason names the release that was asked for and the first that can be; no scenario makes a difference."""
    scenario = Scenario(**REAL, lengths="equal", rows=8)
    for release in ("0.4.1", "0.12.0", "0.16.1"):
        reason = resolve(f"{name}@{release}").supports(scenario)
        assert f"trl {release}: " in reason
        assert "from trl 0.17 on" in reason
    for release in ("0.17.0", "0.29.0", "1.0.0", "1.16.0"):
        assert resolve(f"{name}@{release}").supports(scenario) is None
    assert resolve(name).supports(scenario) is None


def test_lightning_ends_at_whichever_comes_first():
    """Asked for 7 updates and 2 epochs of 3, it promises 6; Hugging Face promises 7."""
    scenario = Scenario(rows=9, grad_accum=2, max_steps=7, epochs=2.0)
    assert expect(scenario, CONTRACTS["lightning"]).optimizer_steps == 6
    assert expect(scenario.with_(max_steps=4), CONTRACTS["lightning"]).optimizer_steps == 4
    assert expect(scenario, CONTRACTS["hf-5"]).optimizer_steps == 7


def test_packing_counts_sequences():
    """16 rows, two a sequence, are 8 sequences: 4 micro-batches of 2."""
    scenario = Scenario(rows=16, per_device_batch_size=2, lengths="equal")
    assert expect(scenario, CONTRACTS["trl-sft-packing"]).terms.M == 4


class TestUnavailable:
    """Trainers that were tried in vain."""

    @pytest.mark.parametrize("name", UNAVAILABLE)
    def test_every_scenario_is_declined_with_what_was_found(self, name):
        """Who asks for it learns why, and no cell is an error."""
        assert resolve(name).supports(Scenario()) == UNAVAILABLE[name]
        assert any(character.isdigit() for character in UNAVAILABLE[name]), "the release that was tried"


class TestCapabilities:
    """The table is what `supports` and the known deviations say."""

    KNOWN = load_known()

    @pytest.mark.parametrize(
        "name", ["hf", "lightning", "trl-sft", "trl-sft-packing", "fused", "llamafactory"]
    )
    def test_every_feature_has_a_cell_with_what_belongs_to_it(self, name):
        """A reason where it is unsupported, ids and reports where something is known, neither where it is audited."""
        cells = capabilities_of(resolve(name), self.KNOWN)
        assert [cell.feature for cell in cells] == [feature.name for feature in FEATURES]
        for cell in cells:
            assert bool(cell.reason) == (cell.standing is Standing.UNSUPPORTED)
            assert bool(cell.known) == (cell.standing is Standing.KNOWN)

    def test_it_follows_the_file_of_known_deviations(self):
        """Without its entries nothing is known; with them the features that they are about are marked."""
        standing = {cell.feature: cell.standing for cell in capabilities_of(resolve("hf"), self.KNOWN)}
        assert standing["dataset without a length"] is Standing.KNOWN
        assert standing["max_steps = 0"] is Standing.KNOWN
        assert standing["epochs"] is Standing.AUDITED
        assert Standing.KNOWN not in {cell.standing for cell in capabilities_of(resolve("hf"), ())}

    def test_it_follows_supports(self):
        """What a subject declines in every form is unsupported, with the reason that is about the feature."""
        cells = {cell.feature: cell for cell in capabilities_of(resolve("lightning"), ())}
        assert cells["fractional epochs"].reason.endswith("max_epochs is a whole number")
        packing = {cell.feature: cell for cell in capabilities_of(resolve("trl-sft-packing"), ())}
        assert packing["epochs"].standing is Standing.AUDITED
        assert packing["dataset without a length"].reason.startswith("dataset iterable")
