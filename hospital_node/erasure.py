"""Erasing a person from every store of this node (GDPR 17), with a signed report. Stays here.

    1. models that have the person named, while that can still be known
    2. noted in ``state/erased`` under a name that says nothing without the site's key; fsync
    3. every permission withdrawn for ever: out of the next cohort, on its way to the ledger
    4. consents, twins, imported record, FHIR versions; audit bodies last, which know everyone
    5. a daemon that is up lets go of what it holds in memory, between two steps of a run
    6. every file of the folder compared with ``stores``; the report signed, entered, kept
    7. noted as ended

Each line can be repeated. A process that dies leaves the name of 2 without that of 7: the next
start of the node goes on (``resume``), and a backup that is put back erases again what ``erased``
names. A daemon that is up lets go of the person before the report is signed (``memory``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from consent import erased
from consent.completions import Completions, Used
from consent.portal.sealed_keys import KEYS, SealedKeys, state_of
from consent.store import DurableStore
from hospital_node import audit_log, erasures, holds, memory, notices, parts, stores
from hospital_node.consents import has_vault, open_vault, open_versions
from hospital_node.data import imported
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from hospital_node.twins.cli_arguments import stored
from ledger.audit.bodies import Bodies
from twinward.clock import Clock
from twinward.errors import ConsentError
from twinward.files import write_atomic
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.settings import load
from twinward.signing import Document

KIND: Final = "twinward/erasure-report/v1"


def erase(folder: Path, record: RecordNumber, *, clock: Clock, alone: bool = False) -> Document:
    """Erase a person from every store that this release knows; the signed report.

    ``alone`` says that no daemon of this folder is up, as at its start.

    Raises:
        ConsentError: TW8141, the record must not be erased now.
        TwinwardError: A store could not be erased from; give the same command again.
    """
    name = erasures.name(Organisation(folder).identity(), record)
    holds.require_none(folder, name)
    used = parts.read(folder, record) if alone else parts.known(folder, record)[0]
    audit_log.commanded(folder, "erase")
    erasures.note(NodePaths(folder).vault, erasures.PERSON, name)
    rows = _erase_stores(folder, record, name=name, clock=clock, used=used)
    is_up = not alone and memory.let_go(folder, name)
    return _report(folder, name, rows=rows, used=used, is_up=is_up, clock=clock)


def _report(
    folder: Path,
    name: bytes,
    *,
    rows: Mapping[str, int],
    used: Sequence[Used],
    is_up: bool,
    clock: Clock,
) -> Document:
    """Say what was done and what is kept, for good; then the erasure has ended."""
    settings = load(NodeSettings, folder / FILE)
    document = Document(
        KIND,
        {
            "hospital": settings.org,
            "name": name.hex(),
            "erased_at": int(clock.now()),
            "stores": [
                {
                    "store": store.name,
                    "holds": store.holds,
                    "treatment": store.treatment.value,
                    "rows": rows.get(store.name, 0),
                    "ground": store.ground,
                }
                for store in stores.STORES
                if store.treatment is not stores.Treatment.NOBODY
            ],
            "unknown": _unknown(folder),
            "models": [asdict(one) for one in used],
            "elsewhere": list(stores.ELSEWHERE),
            "memory": "let go" if is_up else "not running",
        },
    ).signed_by(Organisation(folder).identity())
    audit_log.commanded(folder, "erased", about=(f"digest:{document.digest.hex()}",))
    where = report_path(folder, document)
    where.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomic(where, document.encode(), mode=0o600)
    erasures.note(NodePaths(folder).vault, erasures.DONE, name)
    erasures.copy_out(folder, settings.erased_copy)
    return document


def _unknown(folder: Path) -> list[str]:
    """Files of no store; the hospital's own source of records, if it lies here, is its own."""
    source = load(NodeSettings, folder / FILE).data.resolve()
    return [
        path
        for path, store in stores.walked(folder)
        if store is None and not (folder / path).resolve().is_relative_to(source)
    ]


def report_path(folder: Path, document: Document) -> Path:
    """Where this node keeps its copy of a report."""
    said = document.payload
    return NodePaths(folder).state / "erasures" / f"{said['erased_at']}-{said['name'][:16]}.json"


def is_complete(document: Document) -> bool:
    """Whether every file of the node is known to erasure."""
    return not document.payload["unknown"]


def before_start(folder: Path, *, clock: Clock) -> int:
    """Nobody who was erased is here when a node starts, whatever was put back; how many went.

    Raises:
        UsageError: TW8144, TW7410, the copy of the names elsewhere cannot be used.
        TwinwardError: As ``erase``.
    """
    again = erasures.at_start(folder, load(NodeSettings, folder / FILE).erased_copy)
    return again + resume(folder, clock=clock)


def resume(folder: Path, *, clock: Clock) -> int:
    """Go on with erasures in which a process died, before anything is read; how many.

    Raises:
        As ``erase``; then the node must not start.
    """
    unfinished = erasures.unfinished(folder)
    found = {name: record for record, name in _found(folder, set(unfinished))}
    for name in unfinished:
        if name in found:
            erase(folder, found[name], clock=clock, alone=True)
        else:  # every store was done: nothing leads to a record any more
            _report(folder, name, rows={}, used=(), is_up=False, clock=clock)
    return len(unfinished)


def erase_named(folder: Path, names: set[bytes]) -> None:
    """Erase again whoever these names stand for: in a folder that was put back from a backup."""
    from twinward.clock import SystemClock  # noqa: PLC0415 - a restore has no other

    for record, name in _found(folder, names):
        _erase_stores(folder, record, name=name, clock=SystemClock(), used=())


def _found(folder: Path, names: set[bytes]) -> list[tuple[RecordNumber, bytes]]:
    """Whom these names stand for, as far as any store still knows."""
    if not names:
        return []
    paths, identity = NodePaths(folder), Organisation(folder).identity()
    people = set[RecordNumber]()
    if paths.patients.exists():
        with closing(imported.open_store(folder)) as records:
            people.update(kept.record for kept in records.patients())
    if has_vault(folder):
        vault = open_vault(folder)
        with closing(vault.store):
            people.update(erased.people(vault))
    with closing(_bodies(paths)) as bodies:
        people.update(RecordNumber(one) for one in bodies.people())
    named = ((record, erasures.name(identity, record)) for record in sorted(people))
    return [(record, name) for record, name in named if name in names]


def _erase_stores(
    folder: Path, record: RecordNumber, *, name: bytes, clock: Clock, used: Sequence[Used]
) -> dict[str, int]:
    """Erase from each store that is there; rows by name of the store."""
    paths, rows = NodePaths(folder), dict[str, int]()
    rows["sealed-keys"] = _sealed_keys(folder, record)  # while the vault still knows whose they are
    if paths.notices.exists():
        with closing(notices.open_notices(folder, Organisation(folder).identity())) as mails:
            rows["notices"] = mails.forget(record)
    rows["consents"] = _from_consents(folder, record, name=name, clock=clock, used=used)
    if paths.twins.exists():
        with stored(folder) as twins:
            rows["twins"] = twins.forget(record)
    if paths.patients.exists():
        with closing(imported.open_store(folder, alone=True)) as records:
            rows["records"] = int(records.forget(record))
    if paths.fhir.exists():
        versions = open_versions(folder)
        with closing(versions.store):
            rows["fhir"] = versions.forget(record)
            _scrub(versions.store)
    erasures.note(paths.audit, "audit", name)
    with closing(_bodies(paths)) as bodies:
        rows["audit-bodies"] = bodies.erase(record)
    return rows


def _from_consents(
    folder: Path, record: RecordNumber, *, name: bytes, clock: Clock, used: Sequence[Used]
) -> int:
    paths = NodePaths(folder)
    if not has_vault(folder):
        return 0
    now, within = int(clock.now()), load(NodeSettings, folder / FILE).on_chain_by_seconds
    vault, completions = open_vault(folder), Completions(paths.completions)
    with closing(vault.store), closing(completions.store):
        for kept in erased.withdraw_all(vault, record, now=now, on_chain_by=now + within):
            completions.note_used(kept.digest, used)
        rows = erased.erase(vault, record, name=name, now=now, on_chain_by=now + within)
        _scrub(vault.store)
        return rows


def _scrub(store: DurableStore) -> None:
    """Nothing deleted stays in the write-ahead log either.

    Raises:
        ConsentError: TW8145.
    """
    if not store.scrub():
        raise ConsentError(
            "the rows are erased, but another process holds what was written before",
            code="TW8145",
            help="give the same command again in a moment",
        )


def _sealed_keys(folder: Path, record: RecordNumber) -> int:
    """The keys that the patient's own devices sealed on the patients' pages."""
    where = state_of(folder) / KEYS
    if not (where.exists() and has_vault(folder)):
        return 0
    vault, keys = open_vault(folder), SealedKeys.open(where)
    with closing(vault.store), closing(keys):
        return keys.forget(subject for _, subject in vault.subjects_of(record))


def _bodies(paths: NodePaths) -> Bodies:
    return Bodies(paths.audit / "bodies.sqlite", paths.audit / "keys.sqlite")


def in_words(document: Document) -> list[list[str]]:
    """Rows of a table for people: what happened to each store, and on which ground."""
    return [
        [each["store"], each["treatment"], str(each["rows"]), each["ground"]]
        for each in document.payload["stores"]
    ]


def as_json(document: Document) -> dict[str, Any]:
    """The whole signed report as a JSON value."""
    found: dict[str, Any] = json.loads(document.encode())
    return found
