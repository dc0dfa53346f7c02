"""Where a coordinator keeps its state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twinward.ids import RunId


@dataclass(frozen=True, slots=True)
class ServerPaths:
    """Paths in a coordinator's folder."""

    folder: Path

    def _private(self, name: str) -> Path:
        path = self.folder / "state" / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def ledger(self) -> Path:
        """The embedded ledger's database and log."""
        return self._private("ledger")

    @property
    def register(self) -> Path:
        """Who was invited, who asks to join, who was put out."""
        return self._private("members") / "register.sqlite"

    @property
    def queue(self) -> Path:
        """Studies that wait for their run."""
        return self._private("queue") / "queue.sqlite"

    @property
    def audit(self) -> Path:
        """The coordinator's own audit log."""
        return self._private("audit")

    @property
    def checkpoints(self) -> Path:
        """A copy of the ledger's events, from which checkpoints are made."""
        return self._private("checkpoints")

    @property
    def superlink(self) -> Path:
        """Flower's own folder."""
        return self._private("superlink")

    @property
    def transcripts(self) -> Path:
        """One durable transcript per run."""
        return self._private("transcripts")

    def transcript(self, run: RunId) -> Path:
        """The transcript of one run."""
        return self.transcripts / f"{run}.sqlite"

    def evaluation(self, run: RunId) -> Path:
        """The transcript of the evaluation of one run."""
        return self._private("evaluations") / f"{run}.sqlite"

    @property
    def orders(self) -> Path:
        """The signed order of every run ever started."""
        return self._private("orders")

    def order(self, run: RunId) -> Path:
        """The signed order of one run."""
        return self.orders / f"{run}.json"

    @property
    def releases(self) -> Path:
        """One folder per released model."""
        path = self.folder / "releases"
        path.mkdir(parents=True, exist_ok=True)
        return path
