"""Taking a released model out of use: signed, on the ledger for everyone, marked on its card.

What was released cannot be called back, and what it says about patients stays as bounded as it
was. Whoever asks the ledger for the run finds the retirement (``twinward.retirement``), and every
hospital tells patients who withdrew. An ensemble (``server.assemble``) is retired by its own name.

    1. ``retired.json`` beside the model, signed; the first one stands
    2. its digest on the ledger, as a child of the release; then the marker of the run
    3. ``card.md`` begins with it

A process that dies between two lines is repaired by the same command. The evidence pack and
``card.json`` stay as they were proved.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ledger.chain import Kind
from ledger.endpoint import Endpoint
from ledger.verify import ENSEMBLE
from server.founding_ceremony import load_founding
from server.paths import ServerPaths
from server.release import KIND as RELEASE_KIND
from server.release import is_available
from twinward import retirement
from twinward.clock import Clock
from twinward.errors import UsageError
from twinward.files import write_atomic
from twinward.organisation import Organisation
from twinward.shards import ENSEMBLE_KIND
from twinward.signing import Document

FILE = "retired.json"
_LONGEST = 300
_LEAST_OF_A_NAME = 8


def retire(folder: Path, run: str, *, reason: str, clock: Clock) -> Document:
    """Take the model of a run out of use, for good; the statement that says so. Safe to repeat.

    Args:
        folder: The coordinator's.
        run: Name of the run, or of the ensemble, in hex, or its beginning.
        reason: For hospitals, patients and auditors; never about one patient.
        clock: When it happens.

    Raises:
        UsageError: TW8150 no such release, TW8151 no reason.
        LedgerError: TW5001, TW5030; give the same command again.
    """
    if not (reason.isprintable() and 0 < len(reason.strip()) <= _LONGEST):
        raise UsageError(
            "a retirement needs a reason",
            code="TW8151",
            help=f"say why in at most {_LONGEST} signs; everybody reads it: nothing of a patient",
        )
    place, released = _released(folder, run)
    return take_out(folder, place, released, reason=reason.strip(), clock=clock)


def take_out(
    folder: Path, place: Path, released: Document, *, reason: str, clock: Clock
) -> Document:
    """The same for what was found: a release, or an ensemble, and the folder it lies in.

    Raises:
        LedgerError: TW5001, TW5030; call it again.
    """
    document = _stated(folder, place, released, reason=reason, at=int(clock.now()))
    name, organisation = bytes.fromhex(document.payload["run"]), Organisation(folder)
    founding = load_founding(folder)
    endpoint = Endpoint.of(founding, folder)
    with closing(endpoint.chain(founding, key=organisation.ledger_key())) as chain:
        chain.record(document.digest, Kind.PACK, [released.digest])
        chain.record(retirement.marker(name), Kind.PACK, [document.digest])
    _mark(place / "card.md", document)
    return document


def _released(folder: Path, run: str) -> tuple[Path, Document]:
    found = []
    for place in sorted(ServerPaths(folder).releases.iterdir()):
        if is_available(place):
            data = (place / "release.json").read_bytes()
            document = Document.decode(data, kind=RELEASE_KIND, at=str(place))
        elif (place / ENSEMBLE).exists():
            data = (place / ENSEMBLE).read_bytes()
            document = Document.decode(data, kind=ENSEMBLE_KIND, at=str(place))
        else:
            continue
        if name_of(document).startswith(run.lower()):
            found.append((place, document))
    if len(found) != 1 or len(run) < _LEAST_OF_A_NAME:
        raise UsageError(
            f"{len(found)} released models are of a run of this name",
            code="TW8150",
            note=f"at least {_LEAST_OF_A_NAME} signs of the name are needed",
            help="give the run as it stands on the model card, under Origin",
        )
    return found[0]


def _stated(folder: Path, place: Path, released: Document, *, reason: str, at: int) -> Document:
    """The statement that is there, or a new one; its bytes decide what the ledger records."""
    path = place / FILE
    if path.exists():
        return Document.decode(path.read_bytes(), kind=retirement.KIND, at=str(path))
    document = retirement.statement(
        run=bytes.fromhex(name_of(released)),
        release=released.digest,
        study=str(released.payload["study"]),
        reason=reason,
        at=at,
    ).signed_by(Organisation(folder).identity())
    write_atomic(path, document.encode())
    return document


def name_of(released: Document) -> str:
    """What a release is called, in hex: its run, or the ensemble's own name."""
    return str(released.payload["name" if released.kind == ENSEMBLE_KIND else "run"])


def _mark(card: Path, document: Document) -> None:
    day = datetime.fromtimestamp(int(document.payload["retired_at"]), tz=UTC).date().isoformat()
    banner = f"> **RETIRED on {day}: not to be used any more.** {document.payload['reason']}\n\n"
    text = card.read_text(encoding="utf-8")
    if not text.startswith("> **RETIRED"):
        write_atomic(card, (banner + text).encode())
