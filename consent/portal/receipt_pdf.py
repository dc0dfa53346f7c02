"""The receipt to print: what was agreed, with whom, until when, and how to find it again.

English, in the fonts that every PDF reader has. Other letters than those of western Europe become
question marks, and Arabic would need shaping: the page in the visitor's language prints well. The
signed form is the JSON; this says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from consent.portal.languages import languages
from consent.portal.site import Asked
from twinward.ids import OrgName


def made(one: Asked, *, hospital: OrgName, now: float) -> bytes:
    """The receipt of one letter as PDF; the same bytes for the same record and moment."""
    from reportlab.lib.pagesizes import A4  # noqa: PLC0415 - heavy, and only for this
    from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet  # noqa: PLC0415
    from reportlab.lib.units import cm  # noqa: PLC0415
    from reportlab.platypus import (  # noqa: PLC0415
        Paragraph,
        SimpleDocTemplate,
        Spacer,
        Table,
        TableStyle,
    )

    styles, out = getSampleStyleSheet(), io.BytesIO()
    title = f"Receipt: {_western(one.study.title)}"
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=2 * cm,
        rightMargin=2 * cm,
        title=title,
        author=str(hospital),
        lang="en",
        invariant=1,
        pageCompression=0,
    )
    cell = ParagraphStyle("cell", parent=styles["Normal"], fontSize=9)
    rows = [
        [Paragraph(_escaped(label), cell), Paragraph(_escaped(text), cell)]
        for label, text in _lines(one, hospital=hospital, now=now)
    ]
    grid = TableStyle(
        [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.3, 0)]
    )
    words = languages()["en"].words
    document.build(
        [
            Paragraph(_escaped(title), styles["Title"]),
            Table(rows, colWidths=[4 * cm, 13 * cm], style=grid),
            Spacer(1, 0.5 * cm),
            Paragraph(_escaped(words["receipt_signed_form"]), styles["Normal"]),
        ]
    )
    return out.getvalue()


def _lines(one: Asked, *, hospital: OrgName, now: float) -> Iterator[tuple[str, str]]:
    english = languages()["en"]
    words, grant = english.words, one.known["grant"]
    withdrawal = one.known["withdrawal"]
    yield "Hospital", hospital.replace("-", " ").title()
    yield "Made on", english.moment(now)
    yield "Now", words[f"rule_{one.rule}"]
    yield "Data", ", ".join(one.study.categories)
    if grant is not None:
        said = [
            words.get(f"purpose_{n}") or words.get(f"limit_{n}") or n for n in grant["purposes"]
        ]
        yield "You agreed to", "; ".join(said)
        yield "We got it on", english.moment(grant["received_at"])
        yield "It ends on", english.date(grant["expiry"])
        yield "How it came", words[f"grade_{grant['grade']}"]
        yield "Name on the list", grant["digest"]
        yield "Your number there", grant["subject"]
    if withdrawal is not None:
        yield "You stopped on", english.moment(withdrawal["received_at"])
        yield "Name of the stop", withdrawal["digest"]
    yield "Number of the study", one.study.id32.hex()
    yield "Salt of the study", one.study.salt
    yield "Text that was shown", one.terms.hex()


def _western(text: str) -> str:
    return text.encode("cp1252", errors="replace").decode("cp1252")


def _escaped(text: str) -> str:
    plain = _western(text)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
