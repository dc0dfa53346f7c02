import re

from consent.terms import Terms, terms
from tests.simulators.consent.world import HOSPITAL, STUDY


def _syllables(word):
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    silent = word.lower().endswith("e") and not word.lower().endswith("le") and groups > 1
    return max(1, groups - silent)


def school_year(text):
    """Flesch-Kincaid grade level (Kincaid et al. 1975); age is about five more."""
    sentences = [s for s in re.split(r"[.?!:\n]+", text) if s.strip()]
    words = re.findall(r"[A-Za-z]+", text)
    return (
        0.39 * len(words) / len(sentences) + 11.8 * sum(map(_syllables, words)) / len(words) - 15.59
    )


def test_a_reader_of_twelve_understands_the_terms():
    text = terms(STUDY, hospital=HOSPITAL).text
    assert school_year(text) < 7
    assert not re.search(
        r"\b(blockchain|ledger|cryptograph|pseudonym|gradient)", text, re.IGNORECASE
    )
    assert max(len(s.split()) for s in re.split(r"[.?!\n]{1,}", text.replace("\n", " "))) <= 25


def test_the_terms_say_how_to_say_no_and_how_to_stop():
    text = terms(STUDY, hospital=HOSPITAL).text
    for said in ("You may say no", "change your mind", "by phone or at the desk", STUDY.title):
        assert said in text
    assert all(category in text for category in STUDY.categories)


def test_the_digest_names_text_language_and_version():
    first = Terms("a", "en", 1)
    others = [Terms("b", "en", 1), Terms("a", "de", 1), Terms("a", "en", 2)]
    assert len({first.digest, *(other.digest for other in others)}) == 4
