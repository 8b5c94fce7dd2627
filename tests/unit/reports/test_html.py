"""report.html as a file: self-contained, readable without script, hostile text harmless."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from stepaudit.harness.judging.verdict import VerdictOutcome
from stepaudit.reports.exhibits import exhibits_of
from stepaudit.reports.figures import loss_figure, step_cells, steps_figure
from stepaudit.reports.html import page_text

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """Collects elements, the text outside scripts and styles, and unbalanced tags."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.scripts, self.open, self.wrong = [], [], [], [], []
        self.feed(text)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)


def page_of(verdict, ledgers):
    exhibits = exhibits_of(verdict, ledgers.lookup_for(verdict))
    losses = {exhibit.slug: loss_figure(exhibit) for exhibit in exhibits}
    parted = step_cells(verdict)
    return page_text(
        verdict, exhibits=exhibits, steps=steps_figure(parted) if parted else None, losses=losses
    )


@pytest.fixture(scope="module")
def founding_page(founding, ledgers):
    return page_of(founding, ledgers)


@pytest.fixture(scope="module")
def hostile_page(hostile, ledgers):
    return page_of(hostile, ledgers)


def test_readable_without_script(founding_page):
    """Verdict, clusters with formula and numbers, divergence and reproduce lines are in the markup itself."""
    page = Page(founding_page)
    for part in (
        "✗ FAILED",
        "(700 instead of 350)",
        "exit code 1",
        "target × unsloth-zoo@2024.10.0",
        "T = max_steps = 8 (max_steps > 0 overrides epochs)",
        "16 optimizer steps",
        "event 105, update 9: optimizer step 9; the contract ends at 8",
        "Reproduce with stepaudit replay 0004c0ffee5a78dde6c4",
        "hf-plan-overestimate",
        "ZeroDivisionError: division by zero",
        "hf-iterable-epoch",
    ):
        assert part in page.text, part


def test_well_formed(founding_page, hostile_page):
    """Every element is closed in its turn, also around hostile text."""
    for text in (founding_page, hostile_page):
        page = Page(text)
        assert not page.wrong
        assert not page.open


def test_ids_are_unique_and_links_have_targets(founding_page):
    """Each place on the page can be linked to."""
    page = Page(founding_page)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        target = attributes.get("href", "")
        if tag == "a" and target.startswith("#") and "=" not in target:
            assert target[1:] in ids


def test_self_contained(founding_page):
    """Nothing is fetched: no address in a src, no style sheet, and the policy forbids the network."""
    page = Page(founding_page)
    assert not [attributes for _, attributes in page.elements if "src" in attributes]
    assert [attributes["href"] for tag, attributes in page.elements if tag == "link"] == ["data:,"]
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "url(http" not in founding_page


def test_the_policy_allows_exactly_our_script(founding_page):
    """The digest in the policy is that of the script: an injected one would not run."""
    data, script = Page(founding_page).scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in founding_page
    assert json.loads(data)["id"]


def test_hostile_text_becomes_no_markup(hostile_page, founding_page):
    """The hostile page has no element and no attribute that an ordinary page does not have."""
    ordinary, hostile = Page(founding_page), Page(hostile_page)
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in ordinary.elements} | {"tspan"}
    names = {name for _, attributes in hostile.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in {"src", "srcdoc"}}
    assert len(hostile.scripts) == 2
    for _, attributes in hostile.elements:
        assert not attributes.get("href", "").lower().startswith(("javascript:", "data:text", "vbscript:"))
    assert "{{ 7*7 }}" in hostile.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800-\udfff]", hostile_page)
    assert len(hostile_page) < 1_500_000


def test_status_is_a_word_and_a_shape(founding_page):
    """No status is colour alone: its shape is hidden from screen readers, its word is not."""
    for key, word in (("new", "new"), ("drifted", "drifted"), ("error", "not judged"), ("known", "known")):
        assert re.search(
            rf'class="badge s-{key}"><span aria-hidden="true">[^<]+</span> {word}<', founding_page
        )


@pytest.mark.parametrize("which", ["passed_verdict", "hostile_verdict"])
def test_every_verdict_has_a_page(verdicts, which):
    """Also without exhibits and figures."""
    assert page_text(getattr(verdicts, which)()).endswith("</html>\n")


def test_nothing_compared(verdicts):
    """An empty run says so, and does not look like a pass."""
    verdict = verdicts.verdict_of(
        [], stale=[], outcome=VerdictOutcome.NOTHING, exit_code=4, sentence="Nothing."
    )
    text = Page(page_text(verdict)).text
    assert "NOTHING COMPARED" in text
    assert "never a pass" in text
    assert "PASSED" not in text


def test_a_page_of_many_errors_stays_small(verdicts):
    """Evidence beyond the budget is left out, and the page says where it is."""
    base = verdicts.founding_cells()[-4]
    cells = [
        base.model_copy(
            update={
                "id": f"{number:020x}",
                "error": verdicts.Trouble(
                    kind="exception", message=f"m{number}", traceback=f"{number}\n" * 3000
                ),
            }
        )
        for number in range(2000)
    ]
    text = page_text(verdicts.verdict_of(cells))
    assert len(text) < 3_000_000
    assert "left out to keep this page small; verdict.json has it" in text


@pytest.mark.parametrize(
    ("sentence", "markup"),
    [
        ("`target` is broken by <b>", "<h1><code>target</code> is broken by &lt;b&gt;</h1>"),
        ("`<script>` and `a&b`", "<h1><code>&lt;script&gt;</code> and <code>a&amp;b</code></h1>"),
        ("one ` alone <i>", "<h1>one ` alone &lt;i&gt;</h1>"),
    ],
)
def test_ticks_are_code_and_all_is_escaped(verdicts, sentence, markup):
    """The judge's backticks become code in the headline; what stands in them is text still."""
    assert markup in page_text(verdicts.passed_verdict().model_copy(update={"sentence": sentence}))


def test_the_largest_case_is_shown(founding_page):
    """Beside the smallest case the cluster shows the largest: the numbers that people know."""
    text = Page(founding_page).text
    assert "rows=5590 B=4 A=4 max_steps=350 expected 350 optimizer steps, got 700 optimizer steps" in text
