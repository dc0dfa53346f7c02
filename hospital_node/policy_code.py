"""Which code is installed here, as one hash: every file of our packages, by name and content."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("consent", "hospital_node", "ledger", "models", "server", "twinward")


@cache
def installed() -> str:
    """SHA-256 over all files of the installed packages, in hex; read once per process.

    What Python made of them is left out. It names a release, and does not protect from whoever can
    change files of this machine: that one can change this function too.
    """
    whole = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                name = f"{package}/{path.relative_to(root).as_posix()}"
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{name}\0{content}\n".encode())
    return whole.hexdigest()
