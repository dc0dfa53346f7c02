"""How far a copy of the ledger is verified: what the banner of every page says, and why.

Three checks, each weaker one said as such:

    log       the network's log, computed here from the copy, is the one that the coordinator signed
              in a checkpoint, and that witnesses co-signed
    consents  the running hash over all consents in the copy is in the ledger's state, by proof
    blocks    blocks that the coordinator signed in evidence packs are the copy's blocks
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ledger import proofs, verify
from ledger.consents import HEAD_SLOT, fold
from ledger.deployed import contracts_of
from ledger.endpoint import Endpoint
from ledger.explorer.papers import Papers, Shelf
from ledger.history import History
from ledger.history_feed import HistoryFeed
from ledger.log import checkpoint
from ledger.questions.sources import Sources
from ledger.questions.workspace import Workspace
from ledger.tip import KIND as TIP_KIND
from ledger.tip import TipStatement
from twinward import canonical
from twinward.clock import Clock, iso
from twinward.errors import EvidenceError, LedgerError, LedgerUnreachable, TwinwardError
from twinward.founding import Founding
from twinward.signing import Document

STALE_SECONDS = 60.0
"""A look at the ledger that lies longer back than this is named in the banner."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a copy.

    Attributes:
        block: Last block in the copy.
        events: Events in the copy, which is also the size of the log computed from it.
        checked_at: When the checks were last made, Unix seconds; None if never.
        checkpoint: Size of the newest signed checkpoint that the copy agrees with, or None.
        root: Root of the log at that size, hex.
        witnesses: Organisations that co-signed it.
        consents_proved: Whether the consents are complete up to ``block`` by a storage proof.
        signed_block: Newest block that the coordinator signed in an evidence pack, or None.
        fault: What contradicts the copy, or None.
        silence: Why the ledger could not be asked, or None.
    """

    block: int
    events: int
    checked_at: float | None = None
    checkpoint: int | None = None
    root: str | None = None
    witnesses: tuple[str, ...] = ()
    consents_proved: bool = False
    signed_block: int | None = None
    fault: str | None = None
    silence: str | None = None

    @property
    def level(self) -> str:
        """``good``, ``warn`` or ``bad``: the banner's colour; the words say the same."""
        if self.fault:
            return "bad"
        return "good" if self.checkpoint is not None and not self.silence else "warn"

    @property
    def headline(self) -> str:
        """The banner in one line."""
        at = "" if self.checked_at is None else f" at {_clock(self.checked_at)}"
        if self.fault:
            return f"Do not rely on these pages: {self.fault}"
        if self.checkpoint is not None:
            return f"Verified against checkpoint {self.checkpoint:,}{at}"
        if self.consents_proved:
            return f"Consents proved complete at block {self.block:,}{at}"
        return f"Not verified: a copy up to block {self.block:,}"

    @property
    def details(self) -> str:
        """Who vouches, and what is weaker than it could be."""
        count = len(self.witnesses)
        said = ["1 operator", f"{count} witness{'' if count == 1 else 'es'}"]
        if self.checkpoint is None:
            said.append("no signed checkpoint of all events here")
            if self.signed_block is not None:
                said.append(f"the coordinator signed block {self.signed_block:,}")
        elif self.checkpoint < self.events:
            said.append(f"{self.events - self.checkpoint:,} newer events are not in it yet")
        if self.silence:
            said.append(self.silence)
        return ", ".join(said)

    def as_json(self) -> dict[str, Any]:
        """For every JSON answer."""
        return {
            "block": self.block,
            "events": self.events,
            "checkpoint_root": self.root,
            "checked_at": None if self.checked_at is None else iso(self.checked_at),
            "checkpoint": self.checkpoint,
            "operators": 1,
            "witnesses": list(self.witnesses),
            "consents_proved": self.consents_proved,
            "signed_block": self.signed_block,
            "fault": self.fault,
            "silence": self.silence,
        }


class Source:
    """One ledger and the copy of it that pages read; `refresh` brings it up to date."""

    def __init__(
        self, folder: Path, state: Path, *, founding: Founding, url: str | None, clock: Clock
    ) -> None:
        """Keep the copy in ``state``; ``url`` None shows a copy that nobody updates."""
        self._folder, self._founding, self._clock = folder, founding, clock
        self._genesis = bytes.fromhex(str(founding.chain["genesis_hash"]))
        self._contracts = contracts_of(founding)
        self._rpc = Endpoint.of(founding, folder, url=url).rpc() if url else None
        self.path = state / "history.sqlite"
        self._workspace = Workspace(folder, state=state)
        self._busy = threading.Lock()  # the log over the copy has one user at a time
        self._shelf = Shelf(folder, founding)
        self._folds: dict[int, tuple[int, bytes]] = {}
        self._found = Standing(0, 0)

    @property
    def standing(self) -> Standing:
        """What the last look found; one that lies long back says so itself."""
        found = self._found
        age = self._clock.now() - (found.checked_at or 0.0)
        if self._rpc is None or found.checked_at is None or age <= STALE_SECONDS:
            return found
        return replace(found, silence=f"the ledger was last looked at {age:.0f} s ago")

    @property
    def papers(self) -> Papers:
        """The documents at hand."""
        return self._shelf.papers

    def refresh(self) -> Standing:
        """Follow the ledger, then check the copy; what is found is kept and returned."""
        with self._busy:
            return self._refreshed()

    def prove(self, question: str, given: Mapping[str, str], *, narrowed: Sources | None) -> bytes:
        """The archive that proves an answer complete as of the newest signed checkpoint.

        ``narrowed`` is what is in the scope of who asks; None for the whole network.

        Raises:
            UsageError: TW3710, TW3711; TW3715, there is no checkpoint; TW3720, nothing to prove.
        """
        with self._busy:
            return self._workspace.prove(question, given, narrowed=narrowed)[1]

    def _refreshed(self) -> Standing:
        self._shelf.refresh()
        history = History.open(self.path, genesis=self._genesis, contracts=self._contracts)
        try:
            self._found = self._look(history)
        finally:
            history.close()
        return self._found

    def _look(self, history: History) -> Standing:
        fault = silence = None
        proved = False
        checked = self._clock.now()
        try:
            if self._rpc is None:
                silence = "no ledger is asked: this is a copy"
            else:
                HistoryFeed(history, rpc=self._rpc, contracts=self._contracts).sync()
                proved = self._head_is_proved(history)
                fault = None if proved else "the copy of the consents is not what the ledger holds"
        except LedgerUnreachable:
            silence = "the ledger does not answer now"
        except (LedgerError, TwinwardError) as error:
            fault = f"{error} ({error.code})"
        signed = None
        try:
            with self._workspace.at_checkpoint(history) as signed:
                pass
        except EvidenceError as error:
            fault = fault or f"{error} ({error.code})"
        hospitals = {str(one.org): one.identity for one in self._founding.hospitals}
        block, contradicted = self._signed_blocks(history)
        return Standing(
            block=history.block,
            events=history.count,
            checked_at=None if silence and signed is None else checked,
            checkpoint=None if signed is None else signed.stated.size,
            root=None if signed is None else signed.stated.root.hex(),
            witnesses=(
                ()
                if signed is None
                else tuple(sorted(checkpoint.cosigned_by(signed.note, hospitals)))
            ),
            consents_proved=proved,
            signed_block=block,
            fault=fault or contradicted,
            silence=silence,
        )

    def _head_is_proved(self, history: History) -> bool:
        assert self._rpc is not None  # noqa: S101 - only asked with a ledger
        block = self._rpc.call("eth_getBlockByNumber", hex(history.block), False)
        (known,) = history.db.execute(
            "select hash from blocks where block = ?", (history.block,)
        ).fetchone()
        header = proofs.header_rlp(block)
        proofs.open_header(header, expected_hash=known)
        address = bytes.fromhex(self._contracts.consent[2:])
        proof = self._rpc.call(
            "eth_getProof", self._contracts.consent, [f"0x{HEAD_SLOT:064x}"], hex(history.block)
        )
        value = proofs.storage_value(
            header, expected_hash=known, proof=proof, address=address, slot=HEAD_SLOT
        )
        return value.to_bytes(32, "big") == self._folded(history)

    def _folded(self, history: History) -> bytes:
        denied = len(history.rewound)
        after, head = self._folds.get(denied, (0, bytes(32)))
        for event in history.events(after, kind="Consent.ConsentChanged"):
            packed = event.integer("slot").to_bytes(32, "big")
            study, subject = event.raw("study"), event.raw("subject")
            digest = event.raw("digest")
            head = fold(head, study=study, subject=subject, packed=packed, digest=digest)
        self._folds[denied] = (history.count, head)
        return head

    def _signed_blocks(self, history: History) -> tuple[int | None, str | None]:
        newest = None
        for path in sorted(self._folder.glob("releases/*/evidence.zip")):
            for statement in _tips(path, self._founding):
                row = history.db.execute(
                    "select hash from blocks where block = ?", (statement.number,)
                ).fetchone()
                if row is not None and bytes(row[0]) != statement.hash:
                    return newest, f"the coordinator signed another block {statement.number:,}"
                if row is not None:
                    newest = max(newest or 0, statement.number)
        return newest, None


def _tips(path: Path, founding: Founding) -> Iterable[TipStatement]:
    try:
        records, _ = verify.read_archive(path.read_bytes())
        blocks = canonical.decode(records["ledger.json"])["blocks"]
        for block in blocks:
            tip = Document.decode(canonical.encode(block["tip"]), kind=TIP_KIND)
            tip.verify(founding.coordinator.identity)
            yield TipStatement.read(tip)
    except (OSError, KeyError, TypeError, ValueError, TwinwardError):
        return


def _clock(seconds: float) -> str:
    return iso(seconds).replace("T", " ").replace("Z", " UTC")
