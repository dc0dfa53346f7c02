"""The release report: one file that loads nothing, escapes everything, and names every class."""

from html.parser import HTMLParser

import numpy as np
import pytest

from ledger import verify
from models import evaluation as maths
from models.cardiac_risk import recipe
from server import evaluate, report
from server.model_card import CardTexts, card

VOID = {"meta", "br", "hr", "img", "link", "input", "rect", "line", "polyline", "circle"}


class Page(HTMLParser):
    """What is in the page, and whether its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.attributes = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def said(self):
        return " ".join(" ".join(self.text).split())


def the_plan(*, evaluated=True):
    return recipe.plan(
        network="0" * 64, study="heart-risk", sites=("bern", "chur", "genf"), divisor=600,
        purpose="heart-research", grades=("signed-on-device",),
        evaluation=recipe.EVALUATION if evaluated else None,
    )  # fmt: skip


def statement(numbers):
    return verify.privacy_statement(
        numbers.to_document().payload,
        member_counts=[3],
        charged=dict.fromkeys(numbers.sites, numbers.steps),
    )


def rendered(*, evaluated=True, missing=None, scale=4.0, title="Risk", other=()):
    plan = the_plan(evaluated=evaluated)
    texts = CardTexts(
        title=title, kind="risk", intended_use="Research.", limits=("None.",),
        hyper_parameters="Said.", other_releases=other,
    )  # fmt: skip
    about = card(
        texts=texts, plan=plan.to_document().payload, plan_digest=bytes(32), run=b"r" * 32,
        weights_digest=b"w" * 32, names=("a",), privacy=statement(plan),
    )  # fmt: skip
    said = None
    if evaluated:
        numbers = plan.for_evaluation()
        rows = scale * np.array([2.0, 1, 3, 4, 5, 8, 9, 20])
        counts = maths.Counts(rows, rows[::-1].copy(), evaluate.noise_sd(numbers, members=3))
        said = {"evaluation": "00" * 32, "missing": missing}
        if missing is None:
            said |= {"privacy": statement(numbers), "figures": maths.as_json(counts)}
    return report.render(
        about, plan=plan, evaluation=said, course=[0.7, 0.8, 0.85], issued_at="2026-11-20T10:00:00Z"
    ).decode()


def test_every_figure_has_its_release_class():
    page = Page(rendered())
    assert page.tags.count("figure") == 4  # ROC, calibration, course, budget
    assert page.said.count("Release class:") == 4
    assert page.said.count("charged with its own noise") == 2
    assert page.said.count("Epsilon 3 at delta 1e-5 for a held-out patient") == 1
    assert page.said.count("Release class: public") == 2


def test_it_loads_nothing_and_runs_nothing():
    page = Page(rendered())
    for tag, name, value in page.attributes:
        assert name not in {"src", "href", "srcset", "action", "background"}, (tag, name)
        assert not name.startswith("on")
        assert "url(" not in (value or "")
        assert "://" not in (value or "")
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    policy = [v for t, n, v in page.attributes if t == "meta" and n == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


def test_it_can_be_read_aloud_and_by_keyboard():
    page = Page(rendered())
    assert ("html", "lang", "en") in page.attributes
    headings = [tag for tag in page.tags if tag in {"h1", "h2", "h3"}]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert page.tags.count("svg") == 4
    # Each picture has a title and a description; each table a caption and headings.
    assert page.tags.count("desc") == 4
    assert [v for t, n, v in page.attributes if (t, n) == ("svg", "role")] == ["img"] * 4
    assert page.tags.count("caption") == page.tags.count("table")
    scopes = [n for t, n, _ in page.attributes if t == "th"]
    assert set(scopes) == {"scope"}
    regions = [t for t, n, v in page.attributes if (n, v) == ("role", "region")]
    focus = [t for t, n, v in page.attributes if (n, v) == ("tabindex", "0")]
    assert len(regions) == len(focus) == page.tags.count("table")


def test_what_others_wrote_is_shown_and_not_obeyed():
    text = rendered(title="<script>alert(1)</script>", other=('"><img src=x>',))
    assert "<script" not in text
    assert "<img" not in text
    assert "alert(1)" in Page(text).said


def test_the_same_release_gives_the_same_bytes():
    assert rendered() == rendered()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"missing": "fewer than three came"}, "Not measured This run was to be measured"),
        ({"evaluated": False}, "keeps no patients out of training"),
        ({"scale": 0.2}, "Too few patients to say"),
    ],
)
def test_without_figures_it_says_why(options, says):
    page = Page(rendered(**options))
    assert says in page.said
    assert "AUROC 0." not in page.said.split("How did the training go?")[0]


def test_what_was_charged_is_told_from_what_was_set_aside():
    said = Page(rendered()).said
    assert "epsilon 3 (2 attempts)" in said
    assert "epsilon 2.03 (1 attempts)" in said
    assert "do not add up in anyone" in said
