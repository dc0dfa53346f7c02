"""Draws `data_flow.svg`: which data goes where. Run it after a change; a test compares the two."""

from html import escape
from pathlib import Path

BOXES = {
    "patient": (20, 175, 200, 90, ("Patient's device", "own keys, receipts")),
    "systems": (360, 50, 270, 70, ("Hospital's record systems", "ask about consents")),
    "node": (
        360,
        165,
        270,
        150,
        (
            "NODE of the hospital",
            "vault, patients' pages,",
            "privacy book, audit log;",
            "sums are cut and noised",
        ),
    ),
    "records": (360, 375, 270, 75, ("Hospital's records", "never leave this building")),
    "users": (820, 25, 210, 70, ("Who gets the model", "as the plan says")),
    "coordinator": (820, 155, 210, 90, ("COORDINATOR", "adds masked vectors,", "orders runs")),
    "ledger": (820, 275, 210, 90, ("LEDGER", "pseudonyms, plans,", "privacy reserved")),
    "auditor": (820, 425, 210, 70, ("Auditor", "checks a file offline")),
}
FLOWS = (  # from, to, what, where the words stand, on which side of that place
    ((220, 205), (360, 205), "yes, no, stop", (277, 196), "middle"),
    ((360, 235), (220, 235), "receipts", (277, 254), "middle"),
    ((495, 165), (495, 120), "consents (FHIR)", (507, 147), "start"),
    ((495, 375), (495, 315), "read here only", (507, 350), "start"),
    ((630, 185), (820, 185), "masked, noised vectors", (738, 176), "middle"),
    ((820, 220), (630, 220), "plan, sum of all", (738, 239), "middle"),
    ((630, 300), (820, 300), "consents by pseudonym", (738, 291), "middle"),
    ((925, 155), (925, 95), "model, card", (937, 130), "start"),
    ((925, 365), (925, 425), "evidence pack, proofs", (913, 400), "end"),
)
HOSPITAL = (335, 10, 320, 470)

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1050 510" font-family="sans-serif" \
font-size="14" role="img" aria-label="Which data goes where">
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 8 4 0 8z" fill="#245"/></marker></defs>
<rect width="1050" height="510" fill="#fff"/>"""


def drawing() -> str:
    """The picture as SVG."""
    x, y, width, height = HOSPITAL
    parts = [_HEAD]
    parts.append(
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#eef4f8"'
        ' stroke="#789" stroke-dasharray="6 4"/>'
    )
    parts.append(f'<text x="{x + 12}" y="{y + 22}" fill="#456">inside of each hospital</text>')
    for x, y, width, height, lines in BOXES.values():
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#fff"'
            ' stroke="#245"/>'
        )
        for place, line in enumerate(lines):
            weight = ' font-weight="bold"' if place == 0 else ""
            parts.append(
                f'<text x="{x + 14}" y="{y + 26 + 22 * place}"{weight}>{escape(line)}</text>'
            )
    for (x1, y1), (x2, y2), words, (x, y), side in FLOWS:
        parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#245"'
            ' stroke-width="1.6" marker-end="url(#tip)"/>'
        )
        parts.append(
            f'<text x="{x}" y="{y}" fill="#245" font-size="13" text-anchor="{side}">'
            f"{escape(words)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), encoding="utf-8")
