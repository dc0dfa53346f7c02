"""A folder from which questions are asked: the network's papers, and a copy of its ledger.

A coordinator's folder is one; an auditor makes one of copies. What is read: ``founding.json``,
``studies/``, ``releases/``, ``documents/`` and signed ``checkpoints/``. The copy of the ledger and
the log over it lie in ``state/audit``; both can be deleted and fetched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger import verify
from ledger.audit.log import AuditLog
from ledger.deployed import contracts_of
from ledger.endpoint import Endpoint
from ledger.history import History
from ledger.history_feed import HistoryFeed
from ledger.log import checkpoint
from ledger.log.network import NetworkLog
from ledger.log.store import Log
from ledger.questions import logbook, logged_proof, proof, sample_check
from ledger.questions.answer import Answer
from ledger.questions.documents import Documents
from ledger.questions.library import ask, find
from ledger.questions.sources import Sources
from twinward.admission import with_joined
from twinward.clock import SystemClock
from twinward.errors import EvidenceError, TwinwardError, UsageError
from twinward.files import read_given, write_atomic
from twinward.founding import Founding
from twinward.signing import Identity

CHECKPOINTS = "checkpoints"
_PAPERS = ("studies", "releases", "documents")


class Workspace:
    """One folder. Nothing is fetched or computed before it is asked for."""

    def __init__(
        self, folder: Path, *, more: Sequence[Path] = (), state: Path | None = None
    ) -> None:
        """Read the founding file of this folder.

        Args:
            folder: The network's papers.
            more: Further places with documents.
            state: Where the copy of the ledger lies; ``state/audit`` of the folder by default.

        Raises:
            UsageError: TW3713, there is no founding file.
            IdentityError: It is not signed by its members.
        """
        path = folder / "founding.json"
        if not path.is_file():
            raise UsageError(
                "there is no founding file here, so nobody's name or signature can be known",
                code="TW3713",
                at=str(path),
                help="copy the network's founding.json into this folder",
            )
        self.folder = folder
        self.founding = with_joined(Founding.decode(path.read_bytes(), at=str(path)), folder)
        self._more = more
        self._state = state or folder / "state" / "audit"
        self._genesis = bytes.fromhex(str(self.founding.chain["genesis_hash"]))
        self._contracts = contracts_of(self.founding)

    @property
    def history_path(self) -> Path:
        """Where the copy of the ledger lies."""
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._state / "history.sqlite"

    def follow(self, url: str | None = None) -> int:
        """Fetch what is new from the ledger; the last block in the copy.

        Raises:
            LedgerError: TW5001, TW3701 to TW3704.
            EvidenceError: TW3714, a signed checkpoint contradicts what the ledger shows.
        """
        rpc = Endpoint.of(self.founding, self.folder, url=url).rpc()
        with closing(rpc), self._writer() as history:
            HistoryFeed(history, rpc=rpc, contracts=self._contracts).sync()
            with self.at_checkpoint(history) as signed:
                if signed is not None and (block := signed.stated.block) is not None:
                    history.confirm(block[0])
            return history.block

    def documents(self, *, packs: bool = True) -> Documents:
        """Everything that lies in the folder and in the further places."""
        own = [self.folder / name for name in _PAPERS if (self.folder / name).is_dir()]
        return Documents.read([*own, *self._more], packs=packs)

    @contextmanager
    def sources(self, *, packs: bool = False) -> Iterator[Sources]:
        """What questions are asked of, while the block lasts; packs only if they are needed."""
        with closing(History.reader(self.history_path)) as history:
            yield Sources(history, founding=self.founding, documents=self.documents(packs=packs))

    def ask(self, name: str, given: Mapping[str, str]) -> Answer:
        """The answer as of the copy's last block."""
        with self.sources(packs=find(name).reads_packs) as sources:
            return ask(name, given, sources=sources)

    def prove(
        self, name: str, given: Mapping[str, str], *, narrowed: Sources | None = None
    ) -> tuple[Answer, bytes]:
        """The answer as of the newest signed checkpoint, and the archive that proves it.

        Args:
            name: The question.
            given: Its parameters as text.
            narrowed: What is in the scope of who asks; None for the whole network.

        Raises:
            UsageError: TW3715, there is no signed checkpoint; TW3720, nothing to prove.
        """
        with (
            self.sources(packs=find(name).reads_packs) as sources,
            self.at_checkpoint(sources.history) as signed,
        ):
            if signed is None:
                raise UsageError(
                    "there is no signed checkpoint of the network's log here",
                    code="TW3715",
                    at=str(self.folder / CHECKPOINTS),
                    help="at the coordinator run `twinward audit checkpoint`; elsewhere copy its"
                    " newest checkpoint into this folder",
                )
            seen = narrowed or sources
            return proof.prove(name, given, sources=seen, log=signed.log, checkpoint=signed.note)

    def asks_own_log(self, name: str) -> bool:
        """Whether a question is one to the audit log of the organisation whose folder this is."""
        return find(name).entries is not None and logbook.is_here(self.folder)

    def ask_log(
        self,
        name: str,
        given: Mapping[str, str],
        *,
        copy: Path | None,
        patients: bool,
        anchored: bool = False,
    ) -> tuple[Answer, bytes | None]:
        """The answer of this organisation's own audit log and its proof, or of an exported copy.

        ``anchored`` answers as of the newest head that is proved to stand on the ledger, if any.

        Raises:
            UsageError: TW3723 no audit log, TW3724 not a question to one.
            EvidenceError: TW3721, the copy does not hold.
        """
        if copy is not None:
            data = read_given(copy)
            return logged_proof.of_copy(name, given, data=data, founding=self.founding), None
        with self._own_log() as log:
            return logged_proof.prove(
                name,
                given,
                log=log,
                founding=self.founding,
                patients=patients,
                anchored=anchored,
            )

    def export_log(self, *, patients: bool, anchored: bool = False) -> bytes:
        """A copy of this organisation's whole audit log, which proves itself.

        Raises:
            UsageError: TW3723, there is none here.
        """
        with self._own_log() as log:
            return logged_proof.export(
                log, founding=self.founding, patients=patients, anchored=anchored
            )

    def check_sample(self, data: bytes, *, seed: str) -> sample_check.Sample:
        """What patients of a run that a hospital opened show, by the copy of the ledger here.

        Raises:
            EvidenceError: TW3721, TW3751.
        """
        with closing(History.reader(self.history_path)) as history:
            return sample_check.check(data, founding=self.founding, seed=seed, history=history)

    def anchor_in_words(self, data: bytes) -> str:
        """What the ledger vouches for in a proof or copy of this organisation's own log."""
        records, _ = verify.read_archive(data)
        state = verify.Checkpoint.parse(verify.Note.parse(records["checkpoint.txt"]).text)
        with self._own_log() as log:
            later = log.log.size - state.size
        if verify.ANCHOR not in records:
            return f"{state.size} entries, signed by the organisation; not tied to the ledger"
        more = f"; {later} later entries are not in it (`--now` has them)" if later else ""
        return f"{state.size} entries, under a head that stands on the ledger{more}"

    def _own_log(self) -> AbstractContextManager[AuditLog]:
        return logbook.opened(self.folder, founding=self.founding, clock=SystemClock())

    def checkpoint(self, identity: Identity) -> Path:
        """Sign the present state of the network's log, as the coordinator; where it lies.

        Raises:
            UsageError: TW3716, this is not the coordinator's identity.
        """
        if identity.public.fingerprint != self.founding.coordinator.fingerprint:
            raise UsageError(
                "only the coordinator signs checkpoints of the network's log",
                code="TW3716",
                at=str(self.folder),
                help="run this in the coordinator's folder",
            )
        with self._writer() as history, self._log(history, size=history.count) as log:
            block, digest = history.db.execute(
                "select block, hash from blocks order by block desc limit 1"
            ).fetchone()
            stated = checkpoint.checkpoint_of(log.origin, log.seal(), block=(block, bytes(digest)))
            path = self.folder / CHECKPOINTS / checkpoint.file_name(stated)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, checkpoint.sign(stated, identity).encode())
            history.confirm(block)
            return path

    @contextmanager
    def _writer(self) -> Iterator[History]:
        with closing(
            History.open(self.history_path, genesis=self._genesis, contracts=self._contracts)
        ) as history:
            yield history

    @contextmanager
    def _log(self, history: History, *, size: int) -> Iterator[Log]:
        """The log over the first events of this history, sealed at exactly this size.

        Entries never change, so a ledger that showed another past gets a log of its own, and one
        whose contracts moved: events of the new ones may be older than the news of it.
        """
        moves = len(self.founding.moves)
        name = f"network-log-{len(history.rewound)}{f'-moved-{moves}' if moves else ''}.sqlite"
        path = self.history_path.with_name(name)
        origin = checkpoint.network_origin(self._genesis)
        log = Log(path, origin=origin)
        if log.size > size and log.sealed(size) is None:
            log.close()  # it went past the place where a proof has to start: made anew
            path.unlink()
            log = Log(path, origin=origin)
        with closing(log):
            if log.size < size:
                known = history.events(until=log.size, kind="Membership.Joined")
                NetworkLog(log, known=known).extend(history.events(log.size, size))
                log.seal()
            yield log

    @contextmanager
    def at_checkpoint(self, history: History) -> Iterator[Signed | None]:
        """The log at the newest signed checkpoint that the copy reaches; None without one.

        Raises:
            EvidenceError: TW3714, a signed checkpoint contradicts the copy.
        """
        known = [one for one in self._checkpoints() if one[1].size <= history.count]
        if not known:
            yield None
            return
        note, newest = max(known, key=lambda one: one[1].size)
        with self._log(history, size=newest.size) as log:
            for _, stated in known:
                self._require_same(log, stated, newest)
            yield Signed(note, newest, log)

    def _checkpoints(self) -> list[tuple[verify.Note, verify.Checkpoint]]:
        origin, found = checkpoint.network_origin(self._genesis), []
        for path in sorted((self.folder / CHECKPOINTS).glob("*")):
            try:
                found.append(
                    checkpoint.read(
                        path.read_bytes(),
                        origin=origin,
                        signer=self.founding.coordinator.identity,
                    )
                )
            except TwinwardError:
                continue  # of another log, or signed by somebody else
        return found

    def _require_same(self, log: Log, stated: verify.Checkpoint, newest: verify.Checkpoint) -> None:
        own = log.sealed(newest.size)
        assert own is not None  # noqa: S101 - `_log` sealed it
        proven = log.consistency(stated.size, own.size)
        same = verify.is_consistent(stated.size, stated.root, own.size, own.root, proven)
        if not same or (stated.size == own.size and stated.topics != own.topics):
            raise EvidenceError(
                f"the signed checkpoint of {stated.size} events is not of the ledger as shown here",
                code="TW3714",
                at=str(self.folder / CHECKPOINTS),
                help="keep the checkpoint and this folder: together they prove two histories; tell"
                " the network",
            )


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint, as it was signed, and the log that it is of."""

    note: verify.Note
    stated: verify.Checkpoint
    log: Log
