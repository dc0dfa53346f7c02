"""An answer: the same content as JSON, as CSV, as text and as a page to print."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from ledger.questions.question import Cell, Question, Row, utc
from twinward.console import table

_VERDICTS = {
    "PASS": "PASS: there is none, and everything was there to judge by",
    "FAIL": "FAIL: each line is a violation",
    "OPEN": "OPEN: none was found, but not everything was there to judge by",
}
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #767676;"
    "padding:.35rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    "th small{font-weight:normal}.verdict{font-weight:bold}"
    "@media print{body{margin:0;max-width:none;font-size:9pt}thead{display:table-header-group}}"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out of a question.

    Attributes:
        question: What was asked.
        given: The parameters as text.
        genesis: Which chain the answer is about, 32 bytes.
        block: Its last block that was looked at.
        time: That block's time, Unix seconds.
        verdict: ``PASS``, ``FAIL`` or ``OPEN`` where every row is a violation; otherwise None.
        summary: The answer in one sentence.
        rows: The table.
        remarks: What has to be known to read it rightly.
        missing: What has no source yet and what will bring it; empty where there is an answer.
        topics: Topics of the log whose complete entries the answer is a function of.
        of: What it is as of where that is an audit log; empty for the ledger's block.
        scope: Names of the studies that it is limited to; empty for the whole network.
    """

    question: Question
    given: Mapping[str, str]
    genesis: bytes
    block: int
    time: int
    verdict: str | None = None
    summary: str = ""
    rows: tuple[Row, ...] = ()
    remarks: tuple[str, ...] = ()
    missing: str = ""
    topics: tuple[str, ...] = ()
    of: str = ""
    scope: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``answered`` or ``no-source``."""
        return "no-source" if self.missing else "answered"

    @property
    def headline(self) -> str:
        """The outcome in one line, never more than was established."""
        if self.missing:
            return f"No source yet: {self.missing}"
        said = _VERDICTS[self.verdict] if self.verdict else self.summary
        if not self.scope:
            return said
        return f"{said.removesuffix('.')} (of what concerns {', '.join(self.scope)})."

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines and for the proof."""
        question = self.question
        return {
            "question": question.id,
            "title": question.title,
            "parameters": dict(self.given),
            "genesis": self.genesis.hex(),
            "block": self.block,
            "time": utc(self.time),
            "status": self.status,
            "missing": self.missing or None,
            "verdict": self.verdict,
            "summary": self.summary,
            "columns": [
                {"name": c.name, "title": c.title, "unit": c.unit, "release": c.release}
                for c in question.columns
            ],
            "rows": [list(row.cells) for row in self.rows],
            "evidence": [list(row.evidence) for row in self.rows],
            "remarks": list(self.remarks),
            "topics": list(self.topics),
            **({"of": self.of} if self.of else {}),
            **({"scope": list(self.scope)} if self.scope else {}),
        }

    @property
    def _as_of(self) -> str:
        return self.of or f"block {self.block} of {utc(self.time) or 'no time'}"

    def as_csv(self) -> str:
        """The table, RFC 4180; numbers of the events behind a row stand in the last column."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        if self.missing:
            writer.writerows([["no source yet"], [self.missing]])
            return out.getvalue()
        units = [f"{c.name} [{c.unit}]" if c.unit else c.name for c in self.question.columns]
        writer.writerow([*units, "events"])
        for row in self.rows:
            events = " ".join(map(str, row.evidence))
            writer.writerow([*(_plain(cell) for cell in row.cells), events])
        return out.getvalue()

    def as_text(self) -> str:
        """For a terminal: digests shortened; the other forms have them in full."""
        lines = [self.question.title, ""]
        if self.rows:
            headings = [
                f"{c.title} ({c.unit})" if c.unit else c.title for c in self.question.columns
            ]
            cells = [[_short(cell) for cell in row.cells] for row in self.rows]
            lines += [table(headings, cells), ""]
        lines.append(self.headline)
        if self.verdict:
            lines.append(self.summary)
        lines += [f"- {remark}" for remark in self.remarks]
        lines.append(self._as_of)
        return "\n".join(lines)

    def as_html(self) -> str:
        """A page of its own, without scripts, to read or to print."""
        given = "".join(
            f"<li>{escape(name)}: {escape(text)}</li>" for name, text in self.given.items()
        )
        notes = "".join(f"<li>{escape(remark)}</li>" for remark in self.remarks)
        said = f"<p>{escape(self.summary)}</p>" if self.verdict else ""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.question.title)}</title><style>{_STYLE}</style></head><body><main>"
            f"<h1>{escape(self.question.title)}</h1><p>{escape(self.question.why)}</p>"
            f'<p class="verdict">{escape(self.headline)}</p>{said}'
            f"{f'<h2>Asked with</h2><ul>{given}</ul>' if given else ''}"
            f"{self.table_html()}"
            f"{f'<h2>To be read with</h2><ul>{notes}</ul>' if notes else ''}"
            f"<p>Network {self.genesis.hex()[:16]}, {escape(self._as_of)}.</p></main></body></html>"
        )

    def table_html(self) -> str:
        """The table alone; empty if there are no rows."""
        if not self.rows:
            return ""
        head = "".join(
            f'<th scope="col">{escape(c.title)}'
            f"{f' <small>({escape(c.unit)})</small>' if c.unit else ''}</th>"
            for c in self.question.columns
        )
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(cell))}</td>" for cell in row.cells) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(cell: Cell) -> str:
    return "" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell)


def _plain(cell: Cell) -> Cell:
    """A cell that no spreadsheet takes for a formula: names come from the members."""
    if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{cell}"
    return cell


_HEX_SHOWN = 18


def _short(cell: Cell) -> str:
    text = _shown(cell)
    digits = text.removeprefix("0x")
    is_digest = len(digits) in {40, 64} and set(digits) <= set("0123456789abcdef")
    return f"{text[:_HEX_SHOWN]}.." if is_digest else text
