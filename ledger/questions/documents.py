"""Documents that give the ledger's digests their meaning: studies, plans and evidence packs.

The ledger holds digests only. A document counts when its digest stands there, so whoever hands it
over cannot have changed it; a pack counts when the offline verifier finds no fault in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger import verify
from twinward.errors import UsageError
from twinward.signing import Document

STUDY, PLAN, RELEASE = "twinward/study/v1", "twinward/plan/v1", "twinward/release/v1"
_NEEDED = {STUDY: {"network", "name", "salt"}, PLAN: {"study", "model", "purpose"}}
_LARGEST_DOCUMENT = 64 * 2**20
_SECRET = {"secrets"}


@dataclass(frozen=True, slots=True)
class Vector:
    """That a hospital sent a vector: in which step, and which consents it had seen until then."""

    sender: bytes
    step: int
    consent_head: bytes


@dataclass(frozen=True, slots=True)
class Pack:
    """What a verified evidence pack says.

    Attributes:
        run: 32 bytes.
        plan: Digest of the plan, 32 bytes.
        release: Digest under which the model is on the ledger, 32 bytes.
        vectors: Every vector that left a hospital.
    """

    run: bytes
    plan: bytes
    release: bytes
    vectors: tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class Documents:
    """What is at hand, by digest.

    Attributes:
        studies: Payloads of study documents.
        plans: Payloads of plans.
        packs: Evidence packs without a fault.
        files: The signed documents as they were read, to be handed on with a proof.
        unusable: Files that were left out, and why.
    """

    studies: Mapping[bytes, Mapping[str, Any]] = field(default_factory=dict)
    plans: Mapping[bytes, Mapping[str, Any]] = field(default_factory=dict)
    packs: tuple[Pack, ...] = ()
    files: Mapping[bytes, bytes] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()

    @classmethod
    def read(cls, places: Iterable[Path], *, packs: bool = True) -> Documents:
        """Read every study, plan and pack in these files and folders; secrets are left alone.

        Args:
            places: Files and folders.
            packs: Whether to read packs, each of which is verified in full: that takes its time.

        Raises:
            UsageError: TW3712, a place does not exist.
        """
        return cls.of(_files(places, {".json", ".zip"} if packs else {".json"}))

    @classmethod
    def of(cls, files: Iterable[tuple[str, bytes]]) -> Documents:
        """The same of names and contents; what is no study, plan or pack is ignored."""
        payloads: dict[str, dict[bytes, Mapping[str, Any]]] = {STUDY: {}, PLAN: {}}
        kept: dict[bytes, bytes] = {}
        packs: dict[bytes, Pack] = {}
        unusable = []
        for name, data in files:
            if data.startswith(b"PK"):
                report = verify.verify_bytes(data)
                if not report.ok:
                    unusable.append(f"{name}: {report.faults[0].code} {report.faults[0].message}")
                    continue
                pack, inside = _pack(data)
                packs[pack.release] = pack
                found = [inside]
            else:
                found = [data]
            for document in filter(None, map(_document, found)):
                if not _NEEDED[document.kind] <= {k for k, v in document.payload.items() if v}:
                    unusable.append(f"{name}: a field is missing")
                    continue
                digest = document.digest
                payloads[document.kind][digest] = document.payload
                kept[digest] = document.encode()
        return cls(payloads[STUDY], payloads[PLAN], tuple(packs.values()), kept, tuple(unusable))


def _files(places: Iterable[Path], kinds: set[str]) -> Iterator[tuple[str, bytes]]:
    for place in places:
        if not place.exists():
            raise UsageError(
                "there is no such file or folder of documents",
                code="TW3712",
                at=str(place),
                help="give the folder that holds studies, plans and evidence packs",
            )
        inside = [place] if place.is_file() else sorted(place.rglob("*"))
        for path in inside:
            wanted = path.suffix in kinds and not _SECRET & set(path.parts)
            if wanted and path.is_file() and path.stat().st_size <= _LARGEST_DOCUMENT:
                yield str(path), path.read_bytes()


def _document(data: bytes) -> Document | None:
    for kind in (STUDY, PLAN):
        try:
            return Document.decode(data, kind=kind)
        except UsageError:
            continue
    return None


def _pack(data: bytes) -> tuple[Pack, bytes]:
    """What a pack without a fault says, and its plan."""
    records, _ = verify.read_archive(data)
    release = Document.decode(records["release.json"], kind=RELEASE)
    plan = Document.decode(records["plan.json"], kind=PLAN)
    vectors = [
        Vector(head["sender"], head["step"], head["consent"])
        for name in sorted(records)
        if name.partition("attempts/")[1]
        for masked in verify.parse(records[name])["masked"]
        for head in [verify.read_head("masked", bytes.fromhex(masked["signed"])[:-64])]
    ]
    run = bytes.fromhex(release.payload["run"])
    return Pack(run, plan.digest, release.digest, tuple(vectors)), records["plan.json"]
