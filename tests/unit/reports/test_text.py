"""Text of strangers: what is shown is printable, bounded, and says what it left out."""

import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.reports.text import command_line, count, one_line, printable, shortened

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_printable_text_fits_into_any_file(text):
    """No control, surrogate or direction character is left: UTF-8, XML and a terminal can hold the result."""
    shown = printable(text)
    shown.encode()
    assert not {char for char in shown if unicodedata.category(char) in {"Cc", "Cs"}} - {"\n", "\t"}
    assert not set(shown) & set(
        "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200f\u2028\u2029\ufeff\uffff"
    )
    element = ET.Element("x")
    element.text = shown
    assert ET.fromstring(ET.tostring(element)).text == (shown or None)


@given(ANY_TEXT)
def test_printable_changes_nothing_twice(text):
    """What is printable stays as it is."""
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07after", "after"),
        ("a\x00b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("abc\u202efdp", "abc\\u202efdp"),
        (" 50%|#  |\r100%|###|\r\n", " 50%|#  |\n100%|###|\n"),
        ("日本 ✓ 🧨", "日本 ✓ 🧨"),
    ],
)
def test_what_becomes_of_a_text(raw, shown):
    """Terminal escapes go; other unprintable characters stay visible as their code."""
    assert printable(raw) == shown


@given(ANY_TEXT, st.integers(20, 400))
def test_one_line_is_bounded(text, limit):
    """One line has no line break and at most its limit, plus the note on what is missing."""
    line = one_line(text, limit)
    assert "\n" not in line
    assert len(line) <= limit + 60


def test_shortened_says_how_much_is_missing():
    """A reader can tell that, and how much, was left out."""
    assert shortened("x" * 1_000_000, 300).count("999,700 characters left out") == 1
    assert one_line("y" * 1_000_000).count("999,700 characters left out") == 1


def test_a_command_keeps_its_spaces():
    """Spaces between quotes belong to the command; one_line would join them."""
    assert command_line("stepaudit replay 'my  dir/a'\n") == "stepaudit replay 'my  dir/a'"


def test_count():
    """Numbers and nouns agree."""
    assert [count(1, "cell"), count(20_000, "cell"), count(2, "entry", "entries")] == [
        "1 cell",
        "20,000 cells",
        "2 entries",
    ]
