"""What support needs to see of a node, in an archive without a patient, a key or an address in it.

Nothing is sent: the hospital looks through the archive and decides. Only what is listed here goes
in, values are masked, and before the archive is written every record number and every secret of
this node is looked for in it. Figures that come from patients stay out, rounded or not.
"""

from __future__ import annotations

import io
import json
import platform
import re
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from consent.hidden import Hidden
from hospital_node import backup, consents, watch
from hospital_node.doctor.checks import CHECKS
from hospital_node.doctor.site import Site
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from hospital_node.upgrade import FORMS
from twinward import __version__, forms
from twinward.doctor.findings import examine
from twinward.errors import InternalError, TwinwardError
from twinward.files import write_atomic
from twinward.settings import load

_SAID: Final = ("level", "timestamp", "role", "code", "exit_status", "child", "restarts", "seconds",
                "ms", "channel")  # fmt: skip
"""Of a line of a log: no text that could quote a record, no identifier."""

_SETTINGS: Final = ("mirror_max_age_seconds", "audit_anchor_seconds", "revalidate_days",
                    "on_chain_by_seconds", "witness", "witness_quorum")  # fmt: skip
_PACKAGES: Final = ("flwr", "grpcio", "protobuf", "torch", "numpy", "cryptography", "web3",
                    "py-evm", "opacus", "pydantic")  # fmt: skip
_RECORDS: Final = (
    "select record from enrolments union select record from bindings"
    " union select record from standings"
)
_LINES = 500
_CODE = re.compile(r"\bTW\d{4}\b")
_SHORTEST = 4


def bundle(folder: Path, out: Path, *, logs: Iterable[Path] = ()) -> list[str]:
    """Write the archive; the names in it.

    Args:
        folder: Of the node, which may be up or not.
        out: The new archive.
        logs: More files of log lines than the node's own.

    Raises:
        UsageError: TW1050, no node here.
        InternalError: TW7411, something that must not leave was found in it; nothing was written.
    """
    settings = load(NodeSettings, folder / FILE)
    parts = {
        "about.json": _about(),
        "settings.json": {name: getattr(settings, name) for name in _SETTINGS},
        "doctor.json": [
            {"check": one.check, "result": one.result.value, "code": one.code}
            for one in examine(Site(folder), CHECKS)
        ],
        "status.json": _status(folder),
        "files.json": _files(folder),
    }
    texts = {name: json.dumps(part, indent=2, sort_keys=True) for name, part in parts.items()}
    for place, path in enumerate([*_logs(folder), *logs]):
        texts[f"logs/{place}.jsonl"] = "\n".join(_tail(path))
    _require_clean(texts, folder)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    write_atomic(out, packed.getvalue(), mode=0o600)
    return list(texts)


def _about() -> Mapping[str, Any]:
    packages = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {
        "release": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "sqlite": sqlite3.sqlite_version,
        "packages": packages,
    }


def _status(folder: Path) -> Mapping[str, Any]:
    """Health as the daemon tells it; no cohort, no spend, no number of patients."""
    try:
        found = watch.status(folder)
    except TwinwardError as error:
        return {"answers": False, "code": error.code}
    ledger, audit = found["ledger"], found["audit"]
    trouble = ledger["trouble"]
    return {
        "answers": True,
        "healthy": found["healthy"],
        "supernode": found["supernode"],
        "block": ledger["block"],
        "confirmed_seconds_ago": ledger["confirmed_seconds_ago"],
        "witnesses": ledger["witnesses"],
        "trouble": None if trouble is None else trouble["code"],
        "oldest_not_anchored_seconds": audit["oldest_not_anchored_seconds"],
        "running": found["running"] is not None,
    }


def _files(folder: Path) -> Mapping[str, Any]:
    """Which databases there are, in which form; sizes of those that no patient makes larger."""
    chain = NodePaths(folder).ledger / "chain.sqlite"
    return {
        "forms": {one.path: one.found for one in forms.examine(folder, FORMS)},
        "ledger_bytes": chain.stat().st_size if chain.exists() else None,
    }


def _logs(folder: Path) -> Iterator[Path]:
    paths = NodePaths(folder)
    yield from (paths.log, paths.ledger / "ledger.log", paths.supernode / "supernode.log")


def _tail(path: Path) -> Iterator[str]:
    """Of each of the last lines what is on the list; of others the codes of ours that they name."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if isinstance(fields, dict):
            said = {key: _masked(key, fields[key]) for key in _SAID if key in fields}
        else:
            said = {"codes": _CODE.findall(line)} if _CODE.search(line) else {}
        if said:
            yield json.dumps(said, sort_keys=True)


_SHAPES: Final = {
    "level": r"debug|info|warning|error|critical",
    "timestamp": r"\d{4}-\d{2}-\d{2}T[0-9:.]{5,20}Z",
    "role": r"node|coordinator|ledger",
    "code": r"TW\d{4}",
    "child": r"hospital_node\.launcher|ledger\.embedded",
    "channel": r"secure-sum|flower|ledger|desk|network",
}


def _masked(key: str, value: object) -> object:
    if isinstance(value, (int, float)) and key in {"exit_status", "restarts", "seconds", "ms"}:
        return value
    is_known = isinstance(value, str) and re.fullmatch(_SHAPES.get(key, "(?!)"), value)
    return value if is_known else "..."


def _require_clean(texts: Mapping[str, str], folder: Path) -> None:
    everything = "\n".join(texts.values())
    for what, words in (("a record number", _record_numbers(folder)), ("a key", _secrets(folder))):
        if any(word in everything for word in words):
            raise InternalError(
                f"{what} of this node would have been in the archive",
                code="TW7411",
                help="nothing was written; report it, with the release and without the archive",
            )


def _record_numbers(folder: Path) -> set[str]:
    """Those that cannot stand in the archive by chance: four characters and more."""
    if not consents.has_vault(folder):
        return set()
    at = consents.place(folder)
    if isinstance(at, Path):
        with closing(sqlite3.connect(f"{at.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(_RECORDS).fetchall()
    else:
        with closing(consents.open_vault(folder).store) as store:
            rows = store.rows(_RECORDS)
    hidden = Hidden(consents.vault_key(folder))
    # Before the node was started after an upgrade they stand there as they are.
    found = (row if isinstance(row, str) else hidden.show(row) for (row,) in rows)
    return {record for record in found if len(record) >= _SHORTEST}


def _secrets(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and backup.RULES.is_key(name) and not name.endswith(".sqlite"):
            data = path.read_bytes()
            found.add(data.hex())
            found |= {line.strip() for line in data.decode(errors="replace").splitlines()}
    return {one for one in found if len(one) >= 2 * _SHORTEST and not one.startswith("-----")}
