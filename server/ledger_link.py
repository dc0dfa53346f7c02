"""What a release asks of the ledger: one record, and proofs of what a pack claims."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ledger import evidence
from ledger.chain import Chain, Kind
from ledger.endpoint import Endpoint
from server.witnesses import Witnesses
from twinward.signing import Document, Identity

_WITNESS_SECONDS = 5.0
_LOOK_SECONDS = 0.05


class LedgerLink:
    """The coordinator's view of the ledger while it releases a model."""

    def __init__(
        self,
        chain: Chain,
        *,
        endpoint: Endpoint,
        genesis: bytes,
        identity: Identity,
        witnesses: Witnesses,
    ) -> None:
        self._chain = chain
        self._witnesses = witnesses
        self._rpc = endpoint.rpc()
        self._genesis = genesis
        self._identity = identity

    def record_model(self, digest: bytes, *, parents: Sequence[bytes]) -> None:
        """Put a release on record durably; one that is there already is success."""
        self._chain.record(digest, Kind.MODEL, parents)

    def proofs(self, claims: Sequence[evidence.Claim]) -> Mapping[str, Any]:
        """The content of ``ledger.json``: one signed block, and a proof of each claim under it."""
        tip = self._chain.tip()
        statement = tip.statement(genesis=self._genesis, now=time.time())
        return evidence.ledger_record(
            self._rpc,
            claims,
            contracts=self._chain.contracts,
            tip=statement.signed_by(self._identity),
            witnesses=self._co_signed(tip.number, tip.hash),
        )

    def _co_signed(self, number: int, block_hash: bytes) -> Document:
        """The block with the signatures of the witnesses that follow now; few seconds at most."""
        deadline = time.monotonic() + _WITNESS_SECONDS
        while True:
            found = self._witnesses.of(number, block_hash)
            if len(found.signatures) >= self._witnesses.present or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._rpc.close()
