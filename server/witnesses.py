"""Co-signatures of hospitals over blocks of the ledger, as they come in.

Held in memory: a witness brings its newest signature again with every call, and what must last is
in the evidence packs and on each witness's own disk.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ledger.evidence import as_json
from ledger.witness import KIND, BlockStatement
from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.ids import Fingerprint
from twinward.signing import Document, PublicIdentity

MOST_BLOCKS = 128
"""Blocks in one message of a witness, and blocks whose signatures are remembered."""

_PRESENT_SECONDS = 15.0


class Witnesses:
    """Who co-signed which of the last blocks. For one event loop; not thread-safe."""

    def __init__(self, *, genesis: bytes, hospitals: Mapping[Fingerprint, PublicIdentity]) -> None:
        self._genesis = genesis
        self._hospitals = dict(hospitals)
        self._blocks: dict[tuple[int, bytes], Document] = {}
        self._seen: dict[Fingerprint, tuple[float, int]] = {}

    def welcome(self, hospitals: Mapping[Fingerprint, PublicIdentity]) -> None:
        """Take co-signatures of these from now on."""
        self._hospitals = dict(hospitals)

    def take(self, by: Fingerprint, body: bytes) -> bytes:
        """Keep what a hospital signed; the answer for it.

        Args:
            by: Whose certificate the call came with.
            body: Canonical JSON: ``{"quorum": q, "blocks": [block documents]}``.

        Returns:
            ``{"block": document}``: the newest block that q hospitals or more co-signed, with all
            signatures known; null if there is none.

        Raises:
            UsageError: TW1011, TW1012, TW3555, not such a message.
            IdentityError: TW2002, TW2004, TW3559, not signed by a hospital that may.
        """
        message = canonical.decode(body, at="co-signatures")
        documents, quorum = _read(message)
        identity = self._hospitals.get(by)
        if identity is None:
            raise IdentityError(
                "only hospitals of the founding file are witnesses",
                code="TW3559",
                help="connect with a hospital's certificate",
            )
        for document in documents:
            document.verify(identity)
            statement = BlockStatement.read(document)
            if statement.genesis != self._genesis:
                raise UsageError(
                    "this co-signature is about another ledger",
                    code="TW3555",
                    help="is the witness's founding file the same as the coordinator's?",
                )
            self._keep(by, statement, document)
        found = self.newest(quorum=quorum)
        return canonical.encode({"block": None if found is None else as_json(found)})

    def _keep(self, by: Fingerprint, statement: BlockStatement, document: Document) -> None:
        key = (statement.number, statement.hash)
        known = self._blocks.get(key, Document(document.kind, document.payload))
        signature = next(s for s in document.signatures if s[0] == by)
        merged = {*(s for s in known.signatures if s[0] != by), signature}
        self._blocks[key] = Document(document.kind, document.payload, tuple(sorted(merged)))
        self._seen[by] = (time.monotonic(), statement.number)
        while len(self._blocks) > MOST_BLOCKS:
            del self._blocks[min(self._blocks)]

    def newest(self, *, quorum: int) -> Document | None:
        """The newest block with at least this many co-signatures."""
        good = [key for key, one in self._blocks.items() if len(one.signatures) >= quorum]
        return self._blocks[max(good)] if good else None

    def of(self, number: int, block_hash: bytes) -> Document:
        """The statement about exactly this block with all signatures known; there may be none."""
        known = self._blocks.get((number, block_hash))
        return known or BlockStatement(self._genesis, number, block_hash).document()

    @property
    def present(self) -> int:
        """How many hospitals follow and co-sign now."""
        now = time.monotonic()
        return sum(now - when < _PRESENT_SECONDS for when, _ in self._seen.values())


def _read(message: object) -> tuple[Sequence[Document], int]:
    if (
        not isinstance(message, dict)
        or set(message) != {"quorum", "blocks"}
        or type(message["quorum"]) is not int
        or not 1 <= message["quorum"] <= 10_000
        or not isinstance(message["blocks"], list)
        or len(message["blocks"]) > MOST_BLOCKS
    ):
        raise UsageError(
            "this is not a witness's message",
            code="TW3555",
            help="fetch it again; if it stays, the sender runs another version",
        )
    blocks = [canonical.encode(block) for block in message["blocks"]]
    return [Document.decode(block, kind=KIND, at="co-signature") for block in blocks], message[
        "quorum"
    ]
