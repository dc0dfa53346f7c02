"""Files that pages load: our own style sheet and what we vendored, each served only unchanged."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from twinward.errors import InternalError

FOLDER = Path(__file__).parent / "static"

VENDORED = {
    # htmx.org 2.0.11 from npm, dist/htmx.min.js, Zero-Clause BSD
    "htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
}
"""SHA-256 of every file that others wrote."""

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@functools.cache
def _load(name: str, folder: Path, expected: str | None) -> bytes:
    data = (folder / name).read_bytes()
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise InternalError(
            f"`{name}` is not the file that was reviewed",
            code="TW7023",
            help="install Twinward again from its signed release; the page is not served",
        )
    return data


@dataclass(frozen=True, slots=True)
class Files:
    """The files that pages of one site load.

    Attributes:
        folder: Where they lie.
        vendored: SHA-256 of those that others wrote.
    """

    folder: Path
    vendored: Mapping[str, str]

    def integrity(self, name: str) -> str:
        """What a page says about a file so that a browser refuses another one (W3C SRI)."""
        return "sha256-" + base64.b64encode(hashlib.sha256(self.load(name)).digest()).decode()

    def address(self, name: str) -> str:
        """The address of a file: it changes with the content, so browsers may keep it for ever."""
        return f"/static/{hashlib.sha256(self.load(name)).hexdigest()[:16]}/{name}"

    def serve(self, version: str, name: str) -> Response | None:
        """The file at an address that `address` made, or None."""
        known = {path.name for path in self.folder.iterdir() if path.suffix in _TYPES}
        if name not in known or self.address(name) != f"/static/{version}/{name}":
            return None
        return Response(
            self.load(name),
            headers={
                "content-type": _TYPES[Path(name).suffix],
                "cache-control": "public, max-age=31536000, immutable",
            },
        )

    def load(self, name: str) -> bytes:
        """The bytes of one file, which has its hash if others wrote it.

        Raises:
            InternalError: TW7023, a vendored file is not what was reviewed.
        """
        return _load(name, self.folder, self.vendored.get(name))


SHARED = Files(FOLDER, VENDORED)
"""What every site has."""
