"""Where reports lie at a node: ``state/validation/MODEL/``, one file per report, written whole.

Beside each ``WHEN.json`` lie the page ``WHEN.html``, ``WHEN.alarms.json`` and, once the ledger
holds the digest and a signed block proves it, ``WHEN.ledger.json``. The folder is the queue: a
model whose newest report is missing or too old is due, a report without proof is recorded at the
next tick, so a process may die between any two lines. Mode 0600: exact figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hospital_node.paths import NodePaths
from hospital_node.twins import validation, validation_page
from hospital_node.twins.validation import Report
from twinward.errors import TwinwardError
from twinward.files import write_atomic

PACK, WITHOUT, ASKED, TROUBLE = "evidence.zip", "without.zip", "asked", "trouble.json"
TWIN = "twin-"
"""A folder of a twin and not of a released model begins so."""

DAY = 86_400.0
_REPORT = re.compile(r"\d{8}T\d{6}Z\.json")


@dataclass(frozen=True, slots=True)
class Kept:
    """One report on disk."""

    path: Path

    @property
    def page(self) -> Path:
        """For people."""
        return self.path.with_suffix(".html")

    @property
    def proof(self) -> Path:
        """What the ledger says of it; missing until it was recorded."""
        return self.path.with_suffix(".ledger.json")

    @property
    def made_at(self) -> float:
        """Unix seconds."""
        moment = datetime.strptime(self.path.stem, "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 - next line
        return moment.replace(tzinfo=UTC).timestamp()

    def read(self) -> Report:
        """The report.

        Raises:
            UsageError: TW7173.
        """
        return validation.read(self.path.read_bytes(), at=str(self.path))

    def alarms(self) -> list[str]:
        """What was alarming; empty if nothing, or if it is not known."""
        try:
            found: list[str] = json.loads(self.path.with_suffix(".alarms.json").read_bytes())
        except (OSError, ValueError):
            return []
        return found

    def prove(self, proof: Mapping[str, Any], *, words: str) -> None:
        """Keep what the ledger says, and say so on the page."""
        write_atomic(self.proof, json.dumps(proof).encode(), mode=0o600)
        self.draw(words)

    def draw(self, recorded: str | None = None) -> None:
        """Write the page."""
        write_atomic(self.page, validation_page.render(self.read(), recorded=recorded), mode=0o600)


@dataclass(frozen=True, slots=True)
class Reports:
    """All reports on one model, oldest first."""

    folder: Path

    @classmethod
    def of(cls, node: Path, name: str) -> Reports:
        """The folder of this model (its release) or twin (its name), made if it is missing."""
        folder = root(node) / (TWIN + name.replace("/", "@") if "/" in name else name)
        folder.mkdir(mode=0o700, exist_ok=True)
        return cls(folder)

    @property
    def pack(self) -> Path:
        """Evidence of the model, by which it is measured; missing for a twin."""
        return self.folder / PACK

    @property
    def without(self) -> Path | None:
        """Evidence of a model that this hospital gave nothing to, if somebody brought it."""
        path = self.folder / WITHOUT
        return path if path.exists() else None

    @property
    def twin(self) -> str | None:
        """The twin's name; None if these are of a released model."""
        name = self.folder.name
        return name.removeprefix(TWIN).replace("@", "/") if name.startswith(TWIN) else None

    def age(self, now: float) -> float | None:
        """Seconds since the newest report; None if there is none."""
        newest = self.newest()
        return None if newest is None else max(now - newest.made_at, 0.0)

    def is_due(self, *, now: float, every_days: float) -> bool:
        """Whether a report has to be made."""
        age = self.age(now)
        return age is None or age > every_days * DAY or (self.folder / ASKED).exists()

    def ask(self) -> None:
        """Have a report made now."""
        write_atomic(self.folder / ASKED, b"", mode=0o600)

    def trouble(self) -> dict[str, str] | None:
        """Why the last attempt made no report; None if it did."""
        try:
            found: dict[str, str] = json.loads((self.folder / TROUBLE).read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def failed(self, error: TwinwardError) -> None:
        """Keep why no report could be made."""
        value = {"code": error.code, "message": error.diagnostic.message}
        write_atomic(self.folder / TROUBLE, json.dumps(value).encode(), mode=0o600)

    def all(self) -> list[Kept]:
        """Every whole report."""
        names = sorted(path for path in self.folder.iterdir() if _REPORT.fullmatch(path.name))
        return [Kept(path) for path in names]

    def newest(self) -> Kept | None:
        """The last one; None if there is none."""
        return next(iter(reversed(self.all())), None)

    def first_section(self, title: str) -> Mapping[str, Any] | None:
        """The curves of a section of the first report that has it."""
        for kept in self.all():
            section = kept.read().sections.get(title)
            if section is not None:
                curves: Mapping[str, Any] = section["curves"]
                return curves
        return None

    def take(self, pack: bytes, *, without: bytes | None = None) -> None:
        """Keep the evidence of the model, and ask for a report."""
        if without is not None:
            write_atomic(self.folder / WITHOUT, without, mode=0o600)
        write_atomic(self.pack, pack, mode=0o600)
        self.ask()

    def keep(self, report: Report, *, alarms: tuple[str, ...]) -> Kept:
        """Write a report; its alarms and page first, so that a report is never without."""
        moment = str(report.head.payload["made_at"])
        stem = re.sub(r"[-:]|\.\d+", "", moment)
        kept = Kept(self.folder / f"{stem}.json")
        write_atomic(
            kept.path.with_suffix(".alarms.json"), json.dumps(list(alarms)).encode(), mode=0o600
        )
        write_atomic(kept.page, validation_page.render(report), mode=0o600)
        write_atomic(kept.path, report.encode(), mode=0o600)
        for done in (ASKED, TROUBLE):
            (self.folder / done).unlink(missing_ok=True)
        return kept


def root(node: Path) -> Path:
    """Where all models' reports lie."""
    path = NodePaths(node).state / "validation"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def everything(node: Path) -> Iterator[Reports]:
    """Every model that was ever validated here."""
    for folder in sorted(root(node).iterdir()):
        if folder.is_dir():
            yield Reports(folder)
