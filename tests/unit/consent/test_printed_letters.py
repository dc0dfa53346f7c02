"""Letters for the printer: a secret file, whose picture gives the code to no server."""

import stat
from urllib.parse import urlsplit

import pytest

from consent.letters import Letter
from consent.portal import printed
from consent.portal.codes import read, spelled
from consent.portal.languages import languages, named
from tests.simulators.consent.world import DOMAIN, HOSPITAL, IDENTITY, STUDY
from twinward.errors import UsageError

SITE = "https://my-data.example.org"


def letter(code):
    return Letter(HOSPITAL, IDENTITY.public, "desk:1", "", DOMAIN, STUDY, code)


def test_the_code_is_where_browsers_send_it_to_nobody():
    address = urlsplit(printed.link(letter(b"k" * 16), site=SITE))
    assert read(address.fragment) == b"k" * 16
    assert (address.path, address.query, address.netloc) == ("/sign-in", "", "my-data.example.org")


@pytest.mark.parametrize("language", languages())
def test_a_sheet_for_each_letter_in_a_private_file(tmp_path, language):
    asked = [letter(bytes([number]) * 16) for number in range(3)]
    out = tmp_path / "letters.html"
    printed.write(out, asked, site=SITE, language=named(language))
    text = out.read_text()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [text.count(spelled(one.code)) for one in asked] == [1, 1, 1]
    assert text.count("<svg") == text.count("<section") == 3
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")  # loads nothing
    with pytest.raises(UsageError) as refused:
        printed.write(out, asked, site=SITE, language=named(language))
    assert refused.value.code == "TW1013"


@pytest.mark.parametrize("site", ["http://a.example", "a.example", "https://a/?b", "https://a/"])
def test_no_picture_leads_to_an_open_or_malformed_address(tmp_path, site):
    with pytest.raises(UsageError) as refused:
        printed.write(tmp_path / "out", [letter(b"k" * 16)], site=site, language=named("en"))
    assert refused.value.code == "TW8073"
    assert not (tmp_path / "out").exists()


def test_a_language_without_words_is_refused():
    with pytest.raises(UsageError) as refused:
        named("../en")
    assert refused.value.code == "TW8074"
