"""Draws `data_flow.svg`: which data goes where. Run it after a change; a test compares the two."""

from html import escape
from pathlib import Path

BOXES = {
    "patient": (20, 30, 210, 70, ("Patient's device", "own keys, receipts")),
    "records": (20, 250, 210, 90, ("Hospital's records", "never leave", "this box")),
    "node": (
        330,
        130,
        230,
        150,
        (
            "NODE of the hospital",
            "vault, privacy book,",
            "accounts, audit log,",
            "sums are cut and noised",
        ),
    ),
    "coordinator": (700, 60, 230, 90, ("COORDINATOR", "adds masked vectors,", "orders runs")),
    "ledger": (700, 240, 230, 90, ("LEDGER", "pseudonyms, plans,", "privacy reserved")),
    "auditor": (700, 400, 230, 60, ("Auditor", "checks a file offline")),
}
FLOWS = (  # from, to, what, where the words stand
    ((230, 65), (330, 150), "yes, no, withdraw: signed", (210, 22)),
    ((230, 295), (330, 250), "read on the spot", (216, 365)),
    ((560, 160), (700, 105), "masked, noised vectors", (530, 60)),
    ((700, 130), (560, 200), "plan, sum of all", (640, 188)),
    ((560, 240), (700, 285), "consents by pseudonym", (520, 318)),
    ((815, 330), (815, 400), "proofs, evidence pack", (675, 372)),
)
HOSPITAL = (5, 110, 575, 270)

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 950 480" font-family="sans-serif" \
font-size="14" role="img" aria-label="Which data goes where">
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 8 4 0 8z" fill="#245"/></marker></defs>
<rect width="950" height="480" fill="#fff"/>"""


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
    for (x1, y1), (x2, y2), words, (x, y) in FLOWS:
        parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#245"'
            ' stroke-width="1.6" marker-end="url(#tip)"/>'
        )
        parts.append(f'<text x="{x}" y="{y}" fill="#245" font-size="13">{escape(words)}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), encoding="utf-8")
