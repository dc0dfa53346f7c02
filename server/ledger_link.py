"""What a release asks of the ledger: one record, and proofs of what a pack claims."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ledger import evidence
from ledger.chain import Chain, Kind
from ledger.rpc import Rpc
from twinward.signing import Identity


class LedgerLink:
    """The coordinator's view of the ledger while it releases a model."""

    def __init__(self, chain: Chain, *, url: str, genesis: bytes, identity: Identity) -> None:
        self._chain = chain
        self._rpc = Rpc(url)
        self._genesis = genesis
        self._identity = identity

    def record_model(self, digest: bytes, *, parents: Sequence[bytes]) -> None:
        """Put a release on record durably; one that is there already is success."""
        self._chain.record(digest, Kind.MODEL, parents)

    def proofs(self, claims: Sequence[evidence.Claim]) -> Mapping[str, Any]:
        """The content of ``ledger.json``: one signed block, and a proof of each claim under it."""
        statement = self._chain.tip().statement(genesis=self._genesis, now=time.time())
        return evidence.ledger_record(
            self._rpc,
            claims,
            contracts=self._chain.contracts,
            tip=statement.signed_by(self._identity),
        )

    def close(self) -> None:
        """Close the connection."""
        self._rpc.close()
