"""What a release needs: its companions, what pip finds, and what of the base environment its worker may see."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
import re
import sys
import sysconfig
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from ...scenarios import nearest
from ...scenarios.companions import companions_of
from ..subjects.environment import ABSENT, PYTHON, normal_name, package_of, version_in
from ..subjects.own import OwnLoop
from ..subjects.subject import SubjectError
from .base_view import base_root
from .pip import PipAnswer, reason_in, run_pip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..subjects import Subject
    from ..subjects.environment import Environment

__all__ = ["completed"]

_UNKNOWN = re.compile(
    r"Could not find a version that satisfies the requirement (?P<name>[\w.-]+)==(?P<version>\S+) "
    r"\(from versions: (?P<known>[^)]*)\)"
)


def completed(subject: Subject, cache_dir: Path) -> Subject:
    """Return the subject with everything found that its environment asks for; the same one if it asks for nothing.

    Found once by pip, then read from the cache. Torch and whatever else the base has in a version that fits is not
    laid over but seen, so that no release ever brings a torch of its own. What cannot be had is told by the
    environment's `trouble`, and becomes the error of the subject's cells.

    Raises:
        SubjectError: a release that was asked for by name does not exist.
    """
    environment = subject.environment
    if environment is None or not environment.asked or environment.trouble:
        return subject
    found = copy.copy(subject)
    found.environment = _resolved(subject, environment, cache_dir)  # type: ignore[misc]  # `laid_over` has set it before
    return found


def _resolved(subject: Subject, environment: Environment, cache_dir: Path) -> Environment:
    asked = dict(pin.partition("==")[::2] for pin in environment.asked)
    python = asked.pop(PYTHON, None)
    if python is not None and not sys.version.startswith(f"{python}."):
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        return replace(
            environment,
            trouble=f"Python {python} is asked for, and stepaudit runs in Python {running}: run it from a virtual "
            f"environment of Python {python}, with the torch that goes with it",
        )
    companions = companions_of(asked)
    own = {package_of(pin) for pin in environment.requirements}
    held = _held(subject, {*asked, *companions, *own})
    file = cache_dir.absolute() / "resolutions" / f"{_key(asked | companions | held)}.json"
    answer = _remembered(file)
    if answer is None:
        found = _found(asked, companions, held, subject)
        if isinstance(found, str):
            return replace(environment, trouble=found)
        _remember(file, found)
        answer = found
    laid = answer["requirements"]
    names = {package_of(pin) for pin in laid}
    kept = tuple(pin for pin in environment.requirements if package_of(pin) not in names)
    return replace(
        environment,
        requirements=(*laid, *kept),
        asked=(),
        # what a subject lays over without looking at its needs, and what a loop of one's own imports, may be anything
        base=None if kept or isinstance(subject, OwnLoop) else tuple(answer["base"]),
    )


def _held(subject: Subject, others: Iterable[str]) -> dict[str, str]:
    """Return the subject's other packages as the base has them: they stay what they are."""
    taken = set(others)
    names = [normal_name(package) for package in ("torch", *subject.packages)]
    versions = {name: version_in(name, None) for name in names if name not in taken}
    return {name: version for name, version in versions.items() if version != ABSENT}


def _found(
    asked: Mapping[str, str], companions: Mapping[str, str], held: Mapping[str, str], subject: Subject
) -> dict[str, list[str]] | str:
    """Ask pip; return what is laid over and what is seen of the base, or why it cannot be had."""
    exact = [f"{name}=={version}" for name, version in {**asked, **held}.items()]
    of_its_time = {name: f"{name}<={version}" for name, version in companions.items()}
    report, answer = _dry_run([*exact, *of_its_time.values()])
    if report is None and "conflicting dependencies" in answer.text:
        # companions that the subject does not name are what went together at the time, not what must
        named = {normal_name(package) for package in subject.packages}
        if not named.issuperset(companions):
            report, answer = _dry_run(
                [*exact, *(text for name, text in of_its_time.items() if name in named)]
            )
    if report is None:
        for unknown in _UNKNOWN.finditer(answer.text):
            is_asked = asked.get(normal_name(unknown["name"])) == unknown["version"]
            if is_asked and f"{unknown['version']} Requires-Python" not in answer.text:
                raise SubjectError(_no_such_release(**unknown.groupdict()))
        return reason_in(answer)
    laid = {normal_name(item["metadata"]["name"]): item["metadata"] for item in report["install"]}
    needs = {name: list(item.get("requires_dist", ())) for name, item in laid.items()}
    seen = _seen({*asked, *companions, *held, "torch"}, needs)
    return {
        "requirements": sorted(f"{name}=={item['version']}" for name, item in laid.items()),
        "base": sorted(f"{name}=={importlib.metadata.version(name)}" for name in seen - set(laid)),
    }


def _dry_run(requirements: list[str]) -> tuple[dict[str, Any] | None, PipAnswer]:
    with tempfile.TemporaryDirectory(prefix="stepaudit-") as folder:
        file = Path(folder) / "report.json"
        answer = run_pip(
            *(
                "install",
                "--dry-run",
                "--progress-bar",
                "off",
                "--only-binary",
                ":all:",
                "--report",
                str(file),
            ),
            *requirements,
        )
        return (json.loads(file.read_text(encoding="utf-8")) if answer.ok else None), answer


def _seen(roots: Iterable[str], needs: Mapping[str, list[str]]) -> set[str]:
    """Return every distribution that can be reached from the roots by what they require, without extras."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        requires = needs.get(name)
        if requires is None:
            try:
                requires = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
        seen.add(name)
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(normal_name(requirement.name))
    return seen


def _no_such_release(name: str, version: str, known: str) -> str:
    releases = [item for item in known.split(", ") if item and item != "none"]
    here = f"with a wheel for Python {sys.version_info.major}.{sys.version_info.minor}"
    if not releases:
        return f"pip finds no package {name!r} {here}"
    near = nearest(version, releases)
    return f"{name} has no release {version!r} {here}{near if 'did you mean' in near else ''} (newest: {releases[-1]})"


def _key(pins: Mapping[str, str]) -> str:
    """Content address: what is to go together, by which table, over which base."""
    parts = [sorted(pins.items()), sys.implementation.cache_tag, sysconfig.get_platform(), base_root()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _remembered(file: Path) -> dict[str, list[str]] | None:
    """Return an earlier answer, if what it wants to see of the base is still there in these versions."""
    try:
        answer: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
        pins = [pin.partition("==")[::2] for pin in answer["base"]]
        fits = all(importlib.metadata.version(name) == version for name, version in pins)
    except (OSError, ValueError, KeyError, TypeError, importlib.metadata.PackageNotFoundError):
        return None
    return answer if fits else None


def _remember(file: Path, answer: Mapping[str, list[str]]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as written:
            json.dump(answer, written, indent=1)
        Path(written.name).replace(file)
    except OSError:  # a cache that cannot be written is told where it is needed: when the environment is made
        return
