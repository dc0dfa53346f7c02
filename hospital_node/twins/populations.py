"""From which population a hospital's twins start, and those from which earlier ones were made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hospital_node.durable import DurableFile
from hospital_node.twins.packed import packed, unpacked
from models.twin import Arrays

TABLE = """
CREATE TABLE populations (
    number INTEGER PRIMARY KEY,
    twin TEXT NOT NULL,
    label TEXT NOT NULL,    -- which one: the digest of a release and what this hospital made of it
    use TEXT NOT NULL,      -- released, in-use, refused; the last of a twin counts
    body BLOB NOT NULL
) STRICT
"""

_OF_NOBODY = b""


class Populations:
    """The populations of one hospital's twins, sealed in the file of its twins."""

    def __init__(
        self, file: DurableFile, *, seal: Callable[..., bytes], open_: Callable[..., bytes]
    ) -> None:
        self._file, self._seal, self._open = file, seal, open_

    def keep(self, twin: str, label: str, arrays: Arrays, *, use: str) -> None:
        """Keep one beside those before it, from which twins were made."""
        body = self._seal(packed(arrays), _OF_NOBODY, twin, label, "population")
        self._file.change(
            "INSERT INTO populations (twin, label, use, body) VALUES (?, ?, ?, ?)",
            (twin, label, use, body),
        )

    def last(
        self, twin: str, *, uses: Sequence[str] = (), label: str | None = None
    ) -> tuple[str, str, Arrays] | None:
        """Label, use and arrays of the last population of this twin; None if there is none.

        Args:
            twin: Of which twin.
            uses: Only among these; all of them if none is named.
            label: Only this one.

        Raises:
            TwinModelError: TW7121, the row was changed.
        """
        rows = self._file.rows(
            "SELECT label, use, body FROM populations WHERE twin = ? ORDER BY number DESC", (twin,)
        )
        for found, use, body in rows:
            if (not uses or use in uses) and label in (None, found):
                arrays, _ = unpacked(self._open(body, _OF_NOBODY, twin, found, "population"))
                return found, use, arrays
        return None
