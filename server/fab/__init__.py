"""The code-less Flower app: the same bytes on every machine, so that nodes can approve their hash.

A FAB is a zip of a ``pyproject.toml``, files that it names, and a manifest. Ours holds two entry
points and a licence. It is stored, not deflated: compressed bytes differ between zlib versions.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from importlib import resources

_FILES = ("pyproject.toml", "LICENSE")
_MANIFEST = ".info/CONTENT"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first a zip can hold


def fab_bytes() -> bytes:
    """Build the bundle; a pure function of the two files installed beside this one."""
    contents = {name: resources.files(__name__).joinpath(name).read_bytes() for name in _FILES}
    manifest = "\n".join(
        f"{name},{hashlib.sha256(content).hexdigest()},{len(content) * 8}"
        for name, content in contents.items()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in {**contents, _MANIFEST: manifest.encode()}.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            bundle.writestr(entry, content)
    return buffer.getvalue()


def fab_sha256() -> str:
    """Lower-case hex SHA-256 of the bundle: what a hospital approves."""
    return hashlib.sha256(fab_bytes()).hexdigest()
