"""A withdrawal by way of the network's front door, when the patient's hospital does not take it.

Runs in the patients' process. What leaves, over TLS, is what would go to the hospital and be on the
ledger then: the signed withdrawal. Neither the letter's code nor the hospital's answer is needed.
The hospital hears of it from the ledger, and stops using the record as if it had been told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import grpc

from consent.patient_keys import Answer, Entry, Wallet
from consent.record import Withdrawal
from consent.wallet import Outcome, Progress, nobody
from twinward import canonical
from twinward.clock import Clock
from twinward.errors import ConsentError, CoordinatorUnreachable, TwinwardError, UsageError
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import WithdrawalRelayStub
from twinward.rpc.replies import RemoteRefusal, refusal_of

_SECONDS = 30.0
_TRIES, _PAUSE_SECONDS = 20, 0.5
_TOO_OFTEN = "429"
"""In gRPC's words for nginx's answer to an address beyond its limit."""


def withdraw(
    wallet: Wallet,
    references: Iterable[str],
    *,
    address: str | None = None,
    clock: Clock,
    progress: Progress = nobody,
) -> list[Outcome]:
    """Withdraw for the letters of these references; a receipt names a block that holds it.

    Signed and on disk before it is sent: repeating it sends the same bytes, here or to the
    hospital. One letter's failure does not stop the others.

    Args:
        wallet: With the letters' keys.
        references: Of letters in it.
        address: ``host:port`` of the front door, if not the one that each letter names.
        clock: For the moment that is signed.
        progress: Is told of each outcome.

    Raises:
        UsageError: TW3031, a reference is not in this wallet; then nothing is withdrawn.
    """
    outcomes = []
    for entry in [wallet.entry(name) for name in references]:
        try:
            door = address or entry.letter.door
            if door is None:
                raise _unnamed()
            receipt = _withdrawn(wallet, entry, address=door, at=clock.now())
            outcome = Outcome(entry.reference, entry.letter.hospital, Answer.WITHDRAWN, receipt)
        except TwinwardError as error:
            if isinstance(error, RemoteRefusal):
                wallet.take_back(entry)
            outcome = Outcome(entry.reference, entry.letter.hospital, entry.answer, error=error)
        progress(outcome)
        outcomes.append(outcome)
    return outcomes


def _withdrawn(wallet: Wallet, entry: Entry, *, address: str, at: float) -> dict[str, object]:
    if entry.subject is None or (
        entry.answer is Answer.WITHDRAWN and "withdrawal" not in (entry.sent or {})
    ):
        raise ConsentError(
            "there is no key for this letter that could sign a withdrawal",
            code="TW6077",
            help="nothing was permitted with it, or it was withdrawn by its code; ask the hospital",
        )
    (request,) = wallet.sign_withdrawals([entry], at=at)
    withdrawal = Withdrawal.from_json(request["withdrawal"])
    credentials = grpc.ssl_channel_credentials(root_certificates=entry.letter.ca.encode())
    with grpc.secure_channel(address, credentials) as channel:
        said = _said(WithdrawalRelayStub(channel), canonical.encode(request), address=address)
    if (
        not isinstance(said, dict)
        or said.get("digest") != withdrawal.digest(entry.letter.domain).hex()
    ):
        raise ConsentError(
            "the front door answered about something else than was sent",
            code="TW6079",
            help="try again; if it happens twice, withdraw at the hospital's desk",
        )
    return said


def _said(relay: WithdrawalRelayStub, body: bytes, *, address: str) -> object:
    """The door's answer; while it says that this address comes too often, a little later again."""
    for remaining in reversed(range(_TRIES)):
        try:
            answer = relay.Withdraw(Blob(data=body), timeout=_SECONDS)
        except grpc.RpcError as error:
            if remaining and _TOO_OFTEN in str(error.details()):
                time.sleep(_PAUSE_SECONDS)
                continue
            raise refusal_of(error, otherwise=_unreachable(address)) from error
        return canonical.decode(answer.data, at="answer of the front door")
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _unnamed() -> UsageError:
    return UsageError(
        "this letter names no front door",
        code="TW7670",
        help="give the address that your hospital tells you with `--through HOST:PORT`, or "
        "withdraw at the hospital's desk, also by telephone",
    )


def _unreachable(address: str) -> TwinwardError:
    return CoordinatorUnreachable(
        "the front door does not take the withdrawal",
        code="TW6078",
        at=address,
        help="check the address; the hospital's desk takes it at any time, also by telephone",
    )
