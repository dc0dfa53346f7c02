"""What the transcript of a finished secure sum says: sums, who closed it, what it cost whom.

A run has one transcript for its training and, if its plan says so, one for its evaluation; both
are read here, each with the numbers that it was made under.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger import verify
from server.transcript import FINISHED, Transcript
from twinward.errors import EvidenceError
from twinward.founding import Founding
from twinward.plan import Plan
from twinward.secsum.messages import Close
from twinward.secsum.words import Integers, WordFormat


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished secure sum.

    Attributes:
        run: 32 bytes under which it ran.
        history: The last running hash.
        models: Digests that the members of the last epoch signed; one, if they agree.
        complete: Whether exactly the members of the last epoch signed.
        member_counts: |U| of every epoch.
        accounts: Ledger account of every hospital that sent a vector, by name.
        privacy: The privacy statement (``ledger.verify.privacy_statement``).
    """

    run: bytes
    history: bytes
    models: frozenset[bytes]
    complete: bool
    member_counts: tuple[int, ...]
    accounts: Mapping[str, str]
    privacy: Mapping[str, Any]

    @classmethod
    def read(cls, transcript: Transcript, *, numbers: Plan, founding: Founding) -> Finished:
        """Read it; ``numbers`` are the plan's, or those of its evaluation.

        Raises:
            EvidenceError: TW8501, it is not finished.
        """
        if transcript.outcome != FINISHED:
            raise EvidenceError(
                f"this run is {transcript.outcome}, not finished",
                code="TW8501",
                note=transcript.cause,
                help="release a run only after every member of its last epoch has closed it",
            )
        epochs, attempts = transcript.epochs(), transcript.attempts()
        closes = {
            sender: Close.decode(signed.head) for sender, signed in transcript.closings().items()
        }
        hospital = {bytes.fromhex(m.fingerprint): m for m in founding.hospitals}
        last = set(epochs[-1].members)
        everyone = {member for epoch in epochs for member in epoch.members}
        payload = numbers.to_document().payload
        counts = tuple(len(epoch.members) for epoch in epochs)
        charged = verify.charged_attempts(
            payload,
            closed={hospital[sender].org: close.attempts for sender, close in closes.items()},
            lost=[hospital[member].org for member in everyone - last],
        )
        return cls(
            run=transcript.run,
            history=next((close.history for close in closes.values()), b""),
            models=frozenset(close.model for close in closes.values()),
            complete=set(closes) == last,
            member_counts=counts,
            accounts={
                hospital[one.sender].org: hospital[one.sender].ledger_account
                for attempt in attempts
                for one in attempt.masked
            },
            privacy=verify.privacy_statement(payload, member_counts=counts, charged=charged),
        )

    def require_signed(self, model: bytes) -> None:
        """Require that every member of the last epoch signed exactly this model.

        Raises:
            EvidenceError: TW8502.
        """
        if not self.complete or self.models != {model}:
            raise EvidenceError(
                "not every member of the last epoch signed the model that the sums give",
                code="TW8502",
                help="keep the transcript; compare it with the hospitals' own logs",
            )


def sums_of(transcript: Transcript, *, numbers: Plan) -> Iterator[Integers]:
    """The integer sums in order of their steps, one at a time: they can be large."""
    words = WordFormat(numbers.word_bits, numbers.dimension)
    for attempt in transcript.attempts():
        if attempt.total is not None:
            total = words.from_bytes(memoryview(attempt.total))
            yield words.to_integers(total, limit=numbers.max_abs_sum)
