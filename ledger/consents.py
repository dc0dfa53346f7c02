"""Consents on the ledger: the packed slot, its running hash, calls of the contract `Consent`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from ledger.calls import Calls, ContractRefused, Log

HEAD_SLOT = 0
"""Storage slot of the contract's `head`; a test reads it on a chain."""

CHANGED = bytes(keccak(b"ConsentChanged(bytes32,address,bytes32,uint64,uint256)"))
"""Topic of the one event that goes with every change of a slot."""

SIGNED = 1
"""Flag: the last change carries the subject's signature."""

ATTESTED = 2
BY_STAFF = 1 << 127
"""Purpose bit of a grant that staff wrote down from paper (``consent.purposes``)."""
"""Flag: the last change is a withdrawal attested by staff."""

REASONS = (
    "None",
    "WrongNetwork",
    "NoSubject",
    "NoPurpose",
    "WrongNonce",
    "TooLate",
    "ExpiryNotMidnight",
    "Expired",
    "BadSignature",
)
"""Why the contract leaves a grant out, in its own order."""

GRANTS_A_TRANSACTION = 100
"""Some 4 million gas: a third of a second of the embedded node."""

_GAS_A_GRANT = 90_000


@dataclass(frozen=True, slots=True)
class Slot:
    """What stands on the ledger about one subject in one study.

    Attributes:
        study: 32 bytes.
        subject: 20 bytes.
        purposes: Purpose bits; 0 after a withdrawal.
        expiry: Unix seconds, a UTC midnight; 0 after a withdrawal.
        nonce: What the next grant must carry; 0 if nothing ever stood here.
        relay: Member number of the hospital that relayed the grant.
        flags: `SIGNED` or `ATTESTED`.
        digest: EIP-712 digest of what was signed; zero if attested or not known.
        block: Number of the block that holds the change; 0 if not known.
        sequence: Number of the change, from 1; 0 if not known.
    """

    study: bytes
    subject: bytes
    purposes: int
    expiry: int
    nonce: int
    relay: int
    flags: int
    digest: bytes
    block: int
    sequence: int

    @classmethod
    def unpack(
        cls,
        packed: bytes,
        *,
        study: bytes,
        subject: bytes,
        digest: bytes = bytes(32),
        block: int = 0,
        sequence: int = 0,
    ) -> Slot:
        """Read the contract's word: purposes 128 | expiry 64 | nonce 32 | relay 16 | flags 16."""
        return cls(
            study=study,
            subject=subject,
            purposes=int.from_bytes(packed[:16], "big"),
            expiry=int.from_bytes(packed[16:24], "big"),
            nonce=int.from_bytes(packed[24:28], "big"),
            relay=int.from_bytes(packed[28:30], "big"),
            flags=int.from_bytes(packed[30:], "big"),
            digest=digest,
            block=block,
            sequence=sequence,
        )


def fold(head: bytes, *, study: bytes, subject: bytes, packed: bytes, digest: bytes) -> bytes:
    """The running hash after one more change, as the contract computes it."""
    return bytes(keccak(head + study + subject.rjust(32, b"\0") + packed + digest))


class ConsentCalls(Calls):
    """Bringing grants and withdrawals to the ledger. Safe to repeat."""

    def consent(self, study: bytes, subject: bytes) -> Slot:
        """The subject's slot as the ledger node shows it, unproven; `Mirror` proves it."""
        packed = self.read("Consent", "slotOf", study, subject)
        return Slot.unpack(packed.to_bytes(32, "big"), study=study, subject=subject)

    def consent_head(self) -> bytes:
        """The contract's running hash, unproven."""
        return bytes(self.read("Consent", "head"))

    def relay_grants(
        self, grants: Sequence[tuple[tuple[Any, ...], bytes]]
    ) -> list[tuple[bytes, str | None]]:
        """Bring signed grants to the ledger, in batches.

        Args:
            grants: Each the values of the Solidity struct `Grant` in its order (bytes and
                integers), and the 65-byte signature.

        Returns:
            In the same order the EIP-712 digest of each, and why it was left out, or None. A
            grant that had been applied before counts as applied.

        Dying between two batches leaves the first ones on the ledger.

        Raises:
            ContractRefused: TW5030, this account is not an active hospital's.
            LedgerUnreachable: TW5001.
        """
        results: list[tuple[bytes, str | None]] = []
        for start in range(0, len(grants), GRANTS_A_TRANSACTION):
            batch = grants[start : start + GRANTS_A_TRANSACTION]
            logs = self.write(
                "Consent",
                "grantBatch",
                [grant for grant, _ in batch],
                [signature for _, signature in batch],
                gas=1_000_000 + _GAS_A_GRANT * len(batch),
                rehearse=False,  # a batch never reverts for an item; running it twice costs
            )
            results.extend(self._outcome(log) for log in logs)
        return results

    def anchor_grants(self, *, root: bytes, size: int) -> None:
        """Anchor a root over signed grants: from that block on they count as handed in.

        Nothing about a patient leaves. Each entry of the RFC 9162 log is the grant's EIP-712
        digest (32 bytes) and then its signature (65 bytes).

        Raises:
            ContractRefused: TW5030, this account is not an active hospital's.
        """
        self.write("Consent", "anchorBatch", root, size, done=("AlreadyAnchored",))

    def prove_grant(
        self,
        grant: tuple[Any, ...],
        signature: bytes,
        *,
        digest: bytes,
        relay: int,
        root: bytes,
        index: int,
        path: Sequence[bytes],
    ) -> None:
        """Have a grant of an anchored batch written; any account may.

        A grant that had been applied before counts as applied.

        Args:
            grant: The values of the Solidity struct `Grant` in its order.
            signature: 65 bytes.
            digest: The grant's EIP-712 digest.
            relay: Number of the hospital that anchored the batch.
            root: Root of the batch.
            index: The grant's position from 0.
            path: Its inclusion proof.

        Raises:
            ContractRefused: TW5030.
        """
        place = (relay, root, index, list(path))
        try:
            self.write("Consent", "prove", place, grant, signature)
        except ContractRefused as refused:
            reason = REASONS[refused.values["reason"]] if refused.name == "Refused" else None
            if reason != "WrongNonce" or not self.applied(digest):
                raise

    def _outcome(self, log: Log) -> tuple[bytes, str | None]:
        """One item of a batch: each leaves exactly one event, in the order of the batch."""
        if log.topics[0] == CHANGED:
            return log.topics[3], None
        digest, reason = log.topics[1], REASONS[int.from_bytes(log.data, "big")]
        if reason == "WrongNonce" and self.applied(digest):
            return digest, None
        return digest, reason

    def applied(self, digest: bytes) -> bool:
        """Whether a grant or withdrawal with this digest ever took effect."""
        return bool(self.logs("Consent", (CHANGED, None, None, digest)))

    def relay_withdrawal(self, withdrawal: tuple[Any, ...], signature: bytes) -> None:
        """Bring a signed withdrawal to the ledger; any account may.

        A withdrawal that a later change has overtaken counts as applied while nothing is granted.

        Raises:
            ContractRefused: TW5030.
        """
        try:
            self.write("Consent", "withdraw", withdrawal, signature)
        except ContractRefused as refusal:
            study, subject = withdrawal[1], withdrawal[2]
            if refusal.name != "NonceSpent" or self.consent(study, subject).purposes:
                raise

    def attest_withdrawal(self, study: bytes, subject: bytes) -> None:
        """Withdraw without the subject's key, as the hospital that relayed the grant.

        Raises:
            ContractRefused: TW5030.
        """
        try:
            self.write("Consent", "attestWithdrawal", study, subject)
        except ContractRefused as refusal:
            if refusal.name != "NothingGranted" or not self.consent(study, subject).nonce:
                raise
