"""The receipt to print: what was agreed, with whom, until when, and how to find it again.

In the reader's language, right to left where it runs so; letters are joined by HarfBuzz and set in
DejaVu Sans, of which the Latin, Greek, Cyrillic and Arabic letters lie in ``fonts``. What has no
letter there prints as an empty box. The signed form is the JSON; this says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consent.portal.site import Asked
from twinward.ids import OrgName

if TYPE_CHECKING:
    from consent.portal.languages import Language

FONT: Final = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
_LABEL, _TEXT = 42, 128
"""Widths of the two columns, millimetres; with margins of 20 they fill an A4 page."""


def made(one: Asked, *, hospital: OrgName, now: float, language: Language) -> bytes:
    """The receipt of one letter as PDF; the same bytes for the same record and moment."""
    from fpdf import FPDF  # noqa: PLC0415 - heavy, and only for this

    right_to_left = language.direction == "rtl"
    start = "R" if right_to_left else "L"
    # The mark keeps what ends an English title beside it in a line that runs the other way.
    heading = language.words["paper_title"].format(study=f"{one.study.title}\u200e")
    page = FPDF(format="A4")
    page.set_margin(20)
    page.set_auto_page_break(auto=True, margin=20)
    page.set_title(heading.replace("\u200e", ""))
    page.set_author(str(hospital))
    page.set_lang(language.code)
    page.set_creation_date(datetime.fromtimestamp(now, tz=UTC))
    page.add_font("dejavu", fname=FONT)
    page.set_text_shaping(use_shaping_engine=True)
    page.add_page()
    page.set_font("dejavu", size=16)
    page.multi_cell(0, 9, heading, align=start, new_x="LMARGIN", new_y="NEXT")
    page.set_font("dejavu", size=8)
    for each in language.warnings:
        page.multi_cell(
            0, 4.5, each.words["draft_note"], align=start, new_x="LMARGIN", new_y="NEXT"
        )
    page.ln(4)
    widths = (_TEXT, _LABEL) if right_to_left else (_LABEL, _TEXT)
    with page.table(
        col_widths=widths,
        text_align=(start, start),
        first_row_as_headings=False,
        borders_layout="HORIZONTAL_LINES",
        line_height=5.5,
        padding=1,
    ) as table:
        for line in _lines(one, hospital=hospital, now=now, language=language):
            table.row(line[::-1] if right_to_left else line)
    page.ln(6)
    signed_form = language.words["receipt_signed_form"]
    page.multi_cell(0, 5.5, signed_form, align=start, new_x="LMARGIN", new_y="NEXT")
    return bytes(page.output())


def _lines(
    one: Asked, *, hospital: OrgName, now: float, language: Language
) -> Iterator[tuple[str, str]]:
    words, grant = language.words, one.known["grant"]
    withdrawal = one.known["withdrawal"]
    yield words["paper_hospital"], hospital.replace("-", " ").title()
    yield words["paper_made"], language.moment(now)
    yield words["paper_now"], words[f"rule_{one.rule}"]
    yield words["paper_data"], ", ".join(one.covered)
    if one.left_out:
        yield words["paper_left_out"], ", ".join(one.left_out)
    if grant is not None:
        said = [
            words.get(f"purpose_{n}") or words.get(f"limit_{n}") or n for n in grant["purposes"]
        ]
        yield words["paper_agreed"], "\n".join(said)
        yield words["paper_received"], language.moment(grant["received_at"])
        yield words["paper_ends"], language.date(grant["expiry"])
        yield words["paper_how"], words[f"grade_{grant['grade']}"]
        yield words["paper_entry"], grant["digest"]
        yield words["paper_number"], grant["subject"]
    if withdrawal is not None:
        yield words["paper_stopped"], language.moment(withdrawal["received_at"])
        yield words["paper_stop"], withdrawal["digest"]
    yield words["paper_study"], one.study.id32.hex()
    yield words["paper_salt"], one.study.salt
    yield words["paper_text"], one.terms.hex()
