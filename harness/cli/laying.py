"""`--with PACKAGE==VERSION`: which subjects of a run a release is laid over."""

from __future__ import annotations

from collections.abc import Sequence

from ..subjects import Subject, SubjectError, resolve
from ..subjects.environment import PYTHON, normal_name, package_of
from ..subjects.laid_over import pins_of, with_pins
from ..subjects.own import OwnLoop

__all__ = ["laid"]


def laid(names: Sequence[str], releases: Sequence[str]) -> list[str]:
    """Return the subjects' names, those that use a package named in `releases` with that release laid over them.

    A package that no subject names, such as tokenizers, goes to every subject that another release is laid over. A loop
    of one's own may import anything, so that every release is laid over it.

    Raises:
        SubjectError: no exact pin, one package twice, or a release that concerns no subject of the run.
    """
    if not releases:
        return list(names)
    _, pins = pins_of(with_pins("subject", releases))
    subjects = {name: resolve(name) for name in names}
    used = {
        name: {normal_name(package) for package in subject.packages} for name, subject in subjects.items()
    }
    everyone = {*(package for packages in used.values() for package in packages), PYTHON}
    found = []
    for name in names:
        is_own = isinstance(subjects[name], OwnLoop)
        own = [pin for pin in pins if is_own or package_of(pin) in used[name]]
        further = [pin for pin in pins if package_of(pin) not in everyone or package_of(pin) == PYTHON]
        found.append(with_pins(name, [pin for pin in pins if pin in {*own, *further}]) if own else name)
    if found == list(names):
        raise SubjectError(f"--with {' '.join(pins)}: no subject of this run uses it ({_uses(subjects)})")
    return found


def _uses(subjects: dict[str, Subject]) -> str:
    return "; ".join(f"{name} uses {', '.join(subject.packages)}" for name, subject in subjects.items())
