"""The patients' pages: every language whole, plain English, codes that survive a hand."""

import os
import re
import string
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from markupsafe import Markup

from consent.notices import Mail
from consent.policy import Grade, Rule
from consent.portal import languages as module
from consent.portal.choices import LIMITS, YEARS
from consent.portal.codes import read, spelled
from consent.portal.languages import Language, chosen, languages, offered
from consent.portal.mail import Relay
from consent.portal.receipt_pdf import FONT
from consent.portal.settings import MailSettings
from consent.purposes import PURPOSES
from tests.unit.consent.test_terms import school_year
from twinward.errors import UsageError

ENGLISH = languages()["en"].words
DRAFTS = {"de", "es", "fr", "tr"}
TEMPLATES = Path(module.__file__).parent / "templates"


def places(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("code", [code for code in languages() if code != "en"])
def test_a_language_says_all_that_english_says(code):
    words = languages()[code].words
    assert set(words) == set(ENGLISH)
    assert {key for key in words if places(words[key]) != places(ENGLISH[key])} == set()
    assert {key for key in words if not words[key].strip()} == set()
    same = {key for key in words if words[key] == ENGLISH[key]}
    assert {
        key for key in same if key not in {"date", "moment"} and not key.startswith("month_")
    } == set()


def test_words_hold_no_tags_and_no_number_that_a_noun_has_to_follow():
    for code, language in languages().items():
        words = language.words
        assert not [key for key in words if re.search("[<>]", words[key])], code
        if code != "en":  # one, two, few, many: what stands behind a colon needs no other form
            counted = [key for key in words if "{count}" in words[key]]
            assert [key for key in counted if not re.search(r":\s\{count\}", words[key])] == []


@pytest.mark.parametrize("code", languages())
def test_the_receipt_has_a_letter_for_every_sign(code):
    has = TTFont(FONT).getBestCmap()
    signs = {sign for text in languages()[code].words.values() for sign in text if sign != "\n"}
    assert {sign for sign in signs if ord(sign) not in has} == set()


def test_whatever_nobody_checked_is_a_draft(monkeypatch, tmp_path):
    assert {code for code, one in languages().items() if one.is_draft} == DRAFTS
    assert set(languages(drafts=False)) == {"en", "ar"}
    (tmp_path / "en.toml").write_text('is_draft = false\nopen = "Open"\nnobody = "No {one}"\n')
    (tmp_path / "xx.toml").write_text('open = "Ofnen"\n')
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    found = languages.__wrapped__()["xx"]
    assert found.is_draft, "it does not say that somebody checked it"
    shown = Markup("<p>{}</p>").format(found.words["nobody"].format(one="<b>"))
    assert shown == '<p><span lang="en" dir="ltr">No &lt;b&gt;</span></p>'
    assert Markup("<p>{}</p>").format(found.words["open"]) == "<p>Ofnen</p>"


def test_words_in_an_attribute_hold_no_mark():
    """English words in place of missing ones are marked by a tag, which no attribute may hold."""
    for path in TEMPLATES.glob("*.html"):
        for value in re.findall(r'="([^"]*\{\{ w[.\[][^"]*)"', path.read_text(encoding="utf-8")):
            assert "| striptags }}" in value, f"{path.name}: {value}"


def test_everything_that_a_page_can_be_asked_to_say_has_words():
    wanted = {f"rule_{rule}" for rule in Rule} | {f"grade_{grade}" for grade in Grade}
    wanted |= {f"limit_{name}" for name in LIMITS} | {f"years_{number}" for number in YEARS}
    wanted |= {f"purpose_{row.name}" for row in PURPOSES}
    wanted |= {f"month_{number}" for number in range(1, 13)}
    assert wanted - set(ENGLISH) == set()


def test_a_reader_of_twelve_understands_the_pages():
    sentences = [
        text.replace("{hospital}", "Basel").replace("{moment}", "May").replace("{date}", "May")
        for key, text in ENGLISH.items()
        if " " in text.strip() and not key.startswith("month_")
    ]
    assert school_year("\n".join(sentences)) < 5
    assert max(len(s.split()) for text in sentences for s in re.split(r"[.?!:\n]", text)) <= 22


@pytest.mark.parametrize("code", languages())
def test_nobody_reads_about_the_machine(code):
    text = " ".join(languages()[code].words.values())
    assert not re.search(
        r"blockchain|ledger|cryptograph|pseudonym|gradient|token|بلوك|سلسلة", text, re.IGNORECASE
    )


def test_who_asks_for_nothing_known_reads_english():
    assert chosen(None, "").code == "en"
    assert chosen(None, "xx, de;q=0.5").code == "en"
    assert chosen(None, "ar-EG,en;q=0.5").code == "ar"
    assert chosen("en", "ar").code == "en"
    assert chosen("../../etc", "ar").code == "ar"


def test_a_draft_is_read_by_who_chose_it_and_nobody_else():
    assert chosen(None, "de,ar;q=0.5").code == "ar"
    assert chosen("de", "ar").code == "de"
    assert chosen("de", "ar", drafts=False).code == "ar"
    assert isinstance(offer := offered(None, "tr-TR,en"), Language)
    assert offer.code == "tr"
    assert offered(None, "en,tr") is None
    assert offered("en", "tr") is None, "who chose is asked no more"
    assert offered(None, "tr", drafts=False) is None


def test_a_mail_in_a_draft_says_so_and_is_none_where_drafts_are_off(tmp_path):
    settings = MailSettings(relay="r", sender="no-reply@b.example", site="https://b.example")
    mail = Mail("id", ("id",), "p@mail.example", b"", "tr", code=None)

    def written(**more):
        made = Relay(settings, folder=tmp_path, hospital="Basel", **more).written(mail, now=0)
        return made["Subject"], made.get_content()

    words = languages()["tr"].words
    subject, text = written()
    assert subject == words["mail_new_subject"]
    assert text.split("\n\n")[-2:] == [words["draft_note"], ENGLISH["draft_note"] + "\n"]
    subject, text = written(drafts=False)
    assert subject == ENGLISH["mail_new_subject"]
    assert ENGLISH["draft_note"] not in text


def test_a_code_survives_being_copied_by_hand():
    for code in (bytes(16), b"\xff" * 16, os.urandom(16)):
        shown = spelled(code)
        careless = shown.lower().replace("0", "o").replace("1", "l").replace("-", " ")
        assert read(shown) == read(careless) == read(code.hex()) == code


@pytest.mark.parametrize("typed", ["", "A", "U" * 26, "Z" * 26, "0" * 27, "ü" * 26, "zz" * 16])
def test_what_is_no_code_is_refused_before_anybody_is_asked(typed):
    with pytest.raises(UsageError) as caught:
        read(typed)
    assert caught.value.code == "TW8070"
