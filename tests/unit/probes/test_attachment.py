"""Attach and detach leave torch exactly as it was, however the watched block ends."""

from __future__ import annotations

import pytest
import torch
from stepaudit.harness.probes.patches import replaced
from torch import nn
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_module
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter
from watched import watching


def subclasses(kind):
    yield kind
    for subclass in kind.__subclasses__():
        yield from subclasses(subclass)


def attributes_of_torch() -> dict:
    """Every attribute that a probe could have touched, by identity."""
    owners = [
        *subclasses(Optimizer),
        *subclasses(LRScheduler),
        *subclasses(DataLoader),
        *subclasses(_BaseDataLoaderIter),
        nn.Module,
        clip_grad,
        torch.amp.grad_scaler.GradScaler,
        torch.cuda.amp.GradScaler,
        torch.nn.utils,
        torch.Tensor,
    ]
    hooks = {
        ("global hooks", name): tuple(hook.items())
        for module in (optimizer_module, nn.modules.module)
        for name, hook in vars(module).items()
        if name.startswith("_global") and isinstance(hook, dict)
    }
    return hooks | {
        (getattr(owner, "__qualname__", owner.__name__), id(owner), name): id(value)
        for owner in owners
        for name, value in vars(owner).items()
    }


def hooks_of(module) -> dict:
    return {
        name: dict(value)
        for name, value in vars(module).items()
        if "hooks" in name and hasattr(value, "items")
    }


@pytest.fixture
def everything_imported():
    """Imports that add optimizers, schedulers and loaders of their own."""
    import transformers.optimization
    import transformers.trainer  # noqa: F401

    # The first instance of an optimizer class and of a pretrained model changes torch for good, watched or not.
    with watching() as seen:
        torch.optim.SGD(seen.model.parameters(), lr=0.1)


class FailureError(Exception):
    pass


@pytest.mark.parametrize("ending", [None, FailureError, KeyboardInterrupt])
@pytest.mark.usefixtures("everything_imported")
def test_torch_is_as_it_was(ending):
    """Class dictionaries, module attributes, global hooks and the model's hooks are the same objects afterwards."""
    before = attributes_of_torch()
    during = None
    try:
        with watching() as seen:
            hooks_before_removal = hooks_of(seen.model)
            during = attributes_of_torch()
            optimizer = torch.optim.SGD(seen.model.parameters(), lr=0.1)
            seen.model(**seen.batch(0, 1)).loss.backward()
            optimizer.step()
            if ending is not None:
                raise ending
    except (FailureError, KeyboardInterrupt):
        pass
    assert during != before, "the comparison sees what the probes do"
    assert attributes_of_torch() == before
    assert any(hooks_before_removal.values())
    assert not any(hooks_of(seen.model).values())
    assert optimizer.step.__name__ == "step"


def test_two_watches_one_after_the_other():
    """A second cell sees what the first one saw, once."""
    for _ in range(2):
        with watching() as seen:
            optimizer = torch.optim.SGD(seen.model.parameters(), lr=0.1)
            seen.model(**seen.batch(0)).loss.backward()
            optimizer.step()
        assert seen.account.optimizer_steps == 1


def test_a_replacement_puts_back_an_inherited_attribute():
    """What a class only inherited it only inherits again."""

    class Base:
        def act(self):
            return "base"

    class Derived(Base):
        pass

    with replaced(Derived, "act", lambda original: lambda self: original(self) + "+"):
        assert Derived().act() == "base+"
    assert "act" not in vars(Derived)
    assert Derived().act() == "base"


def test_a_replacement_inside_another_is_unwound_in_order():
    """Nested replacements of one attribute, as for a class reached on two ways."""

    class Base:
        def act(self):
            return "base"

    original = vars(Base)["act"]
    with replaced(Base, "act", lambda act: lambda self: act(self) + "1"):
        with replaced(Base, "act", lambda act: lambda self: act(self) + "2"):
            assert Base().act() == "base12"
        assert Base().act() == "base1"
    assert vars(Base)["act"] is original
