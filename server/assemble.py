"""The model of a study that trains in shards: the mean of its shards' models, as one file of proof.

Post-processing of models that are public already, so it costs nobody anything. The newest model of
each shard that is in use goes in; what it replaces is taken out of use.

    1. model and cards, each written whole, then ``ensemble.json``, signed
    2. its digest on the ledger, as a child of the shards' releases
    3. ``ensemble.zip``: all of it with the pack of each shard, verified; last
    4. for each older model of a shard a mark that names its successor, then its retirement
    5. every other ensemble of the study retired

The same shards give the same bytes up to step 2, so a process that dies at any line is repaired by
the same command: before 3 there is no new ensemble, and the old one is in use; between 3 and 5 both
are, and the old one has in it what a hospital wanted out. A node finds the mark before it can find
the retirement, so no last word says "retired" of a model that was trained again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ledger import evidence, verify
from ledger.chain import Chain, Kind
from ledger.endpoint import Endpoint
from models import registry
from server import ensemble_card, retire, studies
from server.founding_ceremony import load_founding
from server.paths import ServerPaths
from server.release import weights_file
from server.shards import Shard, ShardModel, of_study
from server.studies import SignedStudy
from twinward import admission, canonical, descent, moved, shards
from twinward.clock import Clock
from twinward.errors import EvidenceError, UsageError
from twinward.files import write_atomic
from twinward.founding import Founding
from twinward.organisation import Organisation
from twinward.signing import Document, Identity

PACK = "ensemble.zip"
_FOLDER = "ensemble-"
AGAIN = "its shard was trained again, without who withdrew"
NEXT = "another ensemble took its place: a shard was trained again, without who withdrew"


@dataclass(frozen=True, slots=True)
class Assembled:
    """What came of it: the ensemble, where it lies, and what was taken out of use now."""

    document: Document
    folder: Path
    retired: tuple[str, ...]

    @property
    def pack(self) -> Path:
        """Everything, for whoever checks it."""
        return self.folder / PACK


def assemble(folder: Path, name: str, *, clock: Clock) -> Assembled:
    """Make the model of a study from the models of its shards. Safe to repeat.

    Args:
        folder: The coordinator's.
        name: Of the study.
        clock: When it happens.

    Raises:
        UsageError: TW1039 no such study, TW6244 it has no shards, TW6245 a shard has no model.
        EvidenceError: TW8513, it would not verify; nothing is made available then.
        LedgerError: TW5001, TW5030; give the same command again.
    """
    organisation, paths = Organisation(folder), ServerPaths(folder)
    identity, founding = organisation.identity(), load_founding(folder)
    study = studies.load(folder, name, identity=identity.public)
    parts = of_study(paths, study)
    members = [_newest(part) for part in parts]
    files, document = _files(study, parts, members, identity=identity)
    place = paths.releases / (_FOLDER + str(document.payload["name"])[:16])
    if (place / retire.FILE).exists():
        raise _retired(document)
    place.mkdir(parents=True, exist_ok=True)
    for file, data in {**files, verify.ENSEMBLE: document.encode()}.items():
        write_atomic(place / file, data)
    endpoint = Endpoint.of(founding, folder)
    with closing(endpoint.chain(founding, key=organisation.ledger_key())) as chain:
        chain.record(document.digest, Kind.MODEL, [one.release.digest for one in members])
        if not (place / PACK).exists():
            proof = _proof(chain, endpoint, document.digest, identity=identity, clock=clock)
            _pack(place, files, document, members, founding=founding, proof=proof)
        for part, member in zip(parts, members, strict=True):
            for old in part.older:
                marker = shards.replaced(bytes.fromhex(old.run), by=bytes.fromhex(member.run))
                chain.record(marker, Kind.PACK, [member.release.digest])
    gone = [one for part in parts for one in part.older if one.in_use]
    for old in gone:
        retire.take_out(folder, old.place, old.release, reason=AGAIN, clock=clock)
    former = _others(paths, study, document)
    for where, ensemble in former:
        retire.take_out(folder, where, ensemble, reason=NEXT, clock=clock)
    names = (*(one.run for one in gone), *(retire.name_of(one) for _, one in former))
    return Assembled(document, place, names)


def _newest(part: Shard) -> ShardModel:
    if part.newest is None:
        raise UsageError(
            f"shard {part.number} has no model that is in use",
            code="TW6245",
            help=f"train it: `twinward server shards FOLDER STUDY --train {part.number}`",
        )
    return part.newest


def _files(
    study: SignedStudy, parts: Sequence[Shard], members: Sequence[ShardModel], *, identity: Identity
) -> tuple[dict[str, bytes], Document]:
    """Model and cards, and the signed document that names them; the same bytes whenever made."""
    packs = [verify.read_archive((one.place / "evidence.zip").read_bytes())[0] for one in members]
    several = [_weights(pack) for pack in packs]
    weights = descent.mean(several)
    name = shards.ensemble([bytes.fromhex(one.run) for one in members]).hex()
    about = ensemble_card.card(study, parts, members, name=name, weights=weights)
    model = registry.get(study.plan.model)
    files = {
        "model.safetensors": weights_file(
            weights,
            {
                "model": study.plan.model,
                "names": list(model.names(study.plan.sites)),
                "plan": study.plan.digest.hex(),
                "ensemble": name,
            },
        ),
        "card.json": canonical.encode(about),
        "card.md": ensemble_card.markdown(about).encode(),
    }
    document = Document(
        shards.ENSEMBLE_KIND,
        {
            "network": study.plan.network,
            "name": name,
            "plan": study.plan.digest.hex(),
            "study": study.plan.study,
            "model": study.plan.model,
            "members": [
                {
                    "run": one.run,
                    "release": one.release.digest.hex(),
                    "weights": one.release.payload["weights"],
                }
                for one in members
            ],
            "weights": descent.digest(weights).hex(),
            "records": {file: hashlib.sha256(data).hexdigest() for file, data in files.items()},
        },
    )
    return files, document.signed_by(identity)


def _weights(pack: Mapping[str, bytes]) -> descent.Weights:
    import numpy as np  # noqa: PLC0415 - heavy

    return np.array(verify.read_safetensors(pack["model.safetensors"]), dtype=np.float64)


def _proof(
    chain: Chain, endpoint: Endpoint, digest: bytes, *, identity: Identity, clock: Clock
) -> bytes:
    """That the ledger holds the ensemble, under a block that the coordinator signs."""
    tip = chain.tip().statement(genesis=chain.genesis(), now=clock.now()).signed_by(identity)
    claim = evidence.Claim("record", "provenance", (verify.record_slot(digest),))
    with closing(endpoint.rpc()) as rpc:
        return canonical.encode(
            evidence.ledger_record(rpc, [claim], contracts=chain.contracts, tip=tip)
        )


def _pack(
    place: Path,
    files: Mapping[str, bytes],
    document: Document,
    members: Sequence[ShardModel],
    *,
    founding: Founding,
    proof: bytes,
) -> None:
    data = verify.write_archive(
        {
            **files,
            verify.ENSEMBLE: document.encode(),
            "founding.json": founding.document.encode(),
            **admission.records(founding),
            **moved.records(founding),
            "ledger.json": proof,
            **{
                f"shards/{number:02d}.zip": (one.place / "evidence.zip").read_bytes()
                for number, one in enumerate(members)
            },
        }
    )
    report = verify.verify_bytes(data, founding=founding.document.encode())
    if not report.ok:
        fault = report.faults[0]
        raise EvidenceError(
            f"this ensemble does not verify: {fault.message}",
            code="TW8513",
            at=fault.record,
            note=fault.code,
            help="nothing was made available; verify the packs of its shards one by one",
        )
    write_atomic(place / PACK, data)


def _others(
    paths: ServerPaths, study: SignedStudy, document: Document
) -> list[tuple[Path, Document]]:
    """Every other ensemble of the same plan that is in use, with its folder."""
    found = []
    for place in sorted(paths.releases.glob(_FOLDER + "*")):
        if (place / PACK).exists() and not (place / retire.FILE).exists():
            data = (place / verify.ENSEMBLE).read_bytes()
            one = Document.decode(data, kind=shards.ENSEMBLE_KIND, at=str(place))
            if one.payload["plan"] == study.plan.digest.hex() and one.digest != document.digest:
                found.append((place, one))
    return found


def _retired(document: Document) -> UsageError:
    return UsageError(
        "the ensemble of these shards was retired",
        code="TW6246",
        note=f"ensemble {str(document.payload['name'])[:16]}",
        help="train a shard again; the same models do not come back into use",
    )
