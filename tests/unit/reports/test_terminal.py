"""The terminal summary, as text: snapshots of whole pages, and what they must never do."""

import io
import re

import pytest
from rich.console import Console
from stepaudit.reports import print_summary


def printed(verdict, *, width=100, encoding="utf-8", colour=False, **options):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    )
    print_summary(verdict, console=console, **options)
    return raw.getvalue().decode(encoding)


def normalised(text):
    """Replace what differs between machines: cell ids, times, trailing spaces."""
    text = re.sub(r"\b[0-9a-f]{20}\b", "CELL", text)
    text = re.sub(r"\d+ min \d\d s|\d+\.\d s", "TIME", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("which", ["founding_verdict", "passed_verdict"])
def test_page(verdicts, snapshot, which):
    """The whole page; a change is read before it is accepted."""
    assert normalised(printed(getattr(verdicts, which)())) == snapshot


def test_page_in_full(founding, snapshot):
    """With `verbose`, tracebacks and known clusters too."""
    assert normalised(printed(founding, verbose=True)) == snapshot


def test_the_first_lines_say_what_is_wrong(founding):
    """Verdict, subjects and numbers stand in the first lines."""
    head = "\n".join(printed(founding).splitlines()[:4])
    for part in ("FAILED", "unsloth-zoo@2024.10.0", "700 instead of 350", "exit code 1"):
        assert part in head


@pytest.mark.parametrize("width", [40, 80, 200])
def test_reproduce_lines_are_never_broken(founding, width):
    """A line to copy is one line, however narrow the terminal."""
    lines = [line for line in printed(founding, width=width).splitlines() if "Reproduce with:" in line]
    assert len(lines) == 8
    assert all(re.search(r"Reproduce with: stepaudit replay \w+$", line) for line in lines)


def test_a_terminal_without_unicode(founding):
    """Shapes have plain stand-ins; nothing raises."""
    text = printed(founding, encoding="ascii")
    assert "x FAILED" in text
    assert "target x unsloth-zoo@2024.10.0" in text


def test_hostile_text(hostile):
    """No escape of a trainer's reaches the terminal, no rich markup is read, and the page has an end."""
    for verbose in (False, True):
        text = printed(hostile, verbose=verbose)
        assert "\x1b" not in text
        assert "\x00" not in text
        assert "[bold]rich[/bold]" in text
        assert len(text) < 250_000  # a dozen clusters with every field at its limit


def test_escapes_are_only_our_own_colours(hostile):
    """On a colour terminal the only escapes are colours."""
    escapes = re.findall(r"\x1b[^m]*?[A-Za-z\x07]", printed(hostile, colour=True))
    assert escapes
    assert all(re.fullmatch(r"\x1b\[[\d;]*m", escape) for escape in escapes)


def test_many_clusters_are_folded(verdicts, founding):
    """The first eight are shown in full, the others as a line each, and it is said."""
    one = founding.clusters[0]
    many = [one.model_copy(update={"subject": f"s{number}"}) for number in range(30)]
    text = printed(founding.model_copy(update={"clusters": many}))
    assert "22 clusters folded" in text
    assert text.count("   formula ") == 8
    assert "s29" in text
