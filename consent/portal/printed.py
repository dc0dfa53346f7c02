"""Letters on paper: a page for each patient, with the code in words and as a picture to scan.

The picture opens the patients' site with the code behind the ``#`` of the address. Browsers send
that part to nobody, so no server and no log sees it before the patient presses the button.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import jinja2
import segno
from markupsafe import Markup

from consent.letters import Letter
from consent.portal.codes import spelled
from consent.portal.languages import Language
from twinward.errors import UsageError
from twinward.files import write_secret

_TEMPLATES = Path(__file__).parent / "templates"


def link(letter: Letter, *, site: str) -> str:
    """The address in the picture; it holds the secret of the letter, where nobody is sent it."""
    return f"{site}/sign-in#{spelled(letter.code)}"


def picture(text: str, *, sized: bool = False) -> Markup:
    """The text as a QR code (ISO/IEC 18004, correction level M), as SVG for a page.

    ``sized`` gives it a size of its own, four points for each square.
    """
    made = segno.make(text, error="m", micro=False)
    drawn = made.svg_inline(scale=4, border=4, dark="#000", light="#fff", omitsize=not sized)
    return Markup(drawn)  # noqa: S704 - made here


def pages(letters: Iterable[Letter], *, site: str, language: Language) -> str:
    """One HTML page that prints a sheet for each letter; whole without a network."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    sheets = [
        {
            "hospital": letter.hospital.replace("-", " ").title(),
            "title": letter.study.title,
            "code": spelled(letter.code),
            "reference": letter.reference,
            "picture": picture(link(letter, site=site)),
        }
        for letter in letters
    ]
    template = engine.get_template("printed.html")
    return template.render(sheets=sheets, site=site, w=language.words, language=language)


def write(path: Path, letters: Iterable[Letter], *, site: str, language: Language) -> None:
    """Write the letters for the printer, mode 0600; never overwrites a file.

    Args:
        path: The file, HTML.
        letters: What to print.
        site: Where browsers reach the site: ``https://host`` and perhaps a port.
        language: Of what stands around the code.

    Raises:
        UsageError: TW8073, no address of a site; TW1013, the file is already there.
    """
    if not site.startswith("https://") or site.rstrip("/") != site or any(c in site for c in "#? "):
        raise UsageError(
            "this is not the address of a patients' site",
            code="TW8073",
            at=site,
            help="give the scheme, the name and perhaps the port: https://my-data.example.org",
        )
    write_secret(path, pages(letters, site=site, language=language).encode())
