"""Brings a patient's signed withdrawal to the ledger when their hospital is down or refuses.

Anyone may call it and nobody has to be known: what counts is the signature of the key that the
permission is of, which is checked here and again by the contract. It takes withdrawals and nothing
else, and keeps nothing: the answer comes when a block holds the withdrawal, and whoever dies before
has to ask again. What reaches the ledger through here is public, pseudonymous, and the same as what
a hospital would have brought; the patient's address is written down nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import grpc.aio

from consent.record import Domain, Withdrawal, require_signed
from consent.requests import hex_bytes, object_of, read
from ledger.chain import Chain
from server.front_door_patience import InVain
from twinward import canonical
from twinward.errors import ConsentError, TwinwardError
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import WithdrawalRelayServicer
from twinward.rpc.peer import address_behind
from twinward.rpc.replies import abort

_EVERYBODY: Final = "everybody"
_ALLOWED_TOGETHER: Final = 60


class WithdrawalRelay:
    """What the door answers to patients; no network in here. Thread-safe.

    A withdrawal that ends a permission on the ledger is always brought. One that finds none there
    still matters, for it shuts out a grant that a hospital holds back; but anybody can make up keys
    and sign such, so their number is bounded, by address and in all.
    """

    def __init__(self, *, domain: Callable[[], Domain], chain: Chain) -> None:
        """Nothing was brought yet.

        Args:
            domain: The ledger and contract of this network as they are now.
            chain: The ledger, for any account: the contract asks for none in particular.
        """
        self._domain = domain
        self._chain = chain
        self._by_address = InVain(_wait)
        self._together = InVain(_wait, allowed=_ALLOWED_TOGETHER)

    def withdraw(self, body: bytes, address: str) -> bytes:
        """``{withdrawal, signature}`` to ``{digest, block}``; the block, or one before, holds it.

        Sending the same again gives the same answer and changes nothing.

        Args:
            body: Canonical JSON.
            address: The caller's.

        Raises:
            UsageError: TW3003, TW3019, no request of this form.
            ConsentError: TW3002, TW3004, TW3005 not signed by its subject for this network;
                TW6076, too many that end nothing.
            LedgerError: TW5001 not reached: ask again; TW5030 the contract refuses.
        """
        value = read(body, "withdrawal", "signature")
        withdrawal = Withdrawal.from_json(object_of(value["withdrawal"]))
        signature = hex_bytes(value["signature"])
        digest = require_signed(withdrawal, signature, domain=self._domain())
        slot = self._chain.consent(withdrawal.study, withdrawal.subject)
        if slot.purposes or slot.nonce <= withdrawal.nonce:
            if not slot.purposes:
                self._count(address)
            self._chain.relay_withdrawal(withdrawal.as_tuple(), signature)
        return canonical.encode({"digest": digest.hex(), "block": self._chain.tip().number})

    def _count(self, address: str) -> None:
        for counter, who in ((self._by_address, address), (self._together, _EVERYBODY)):
            counter.require_patience(who)
            counter.note(who)


class RelayService(WithdrawalRelayServicer):  # type: ignore[misc]
    """Carries bodies to the relay and answers back."""

    def __init__(self, relay: WithdrawalRelay, *, door: bool) -> None:
        """``door``: whether a front door stands before this."""
        self._relay = relay
        self._door = door

    async def Withdraw(  # noqa: N802
        self, request: Blob, context: grpc.aio.ServicerContext
    ) -> Blob:
        """Bring a signed withdrawal to the ledger."""
        address = address_behind(context, door=self._door)
        try:
            return Blob(data=await asyncio.to_thread(self._relay.withdraw, request.data, address))
        except TwinwardError as error:
            await abort(context, error)


def _wait() -> ConsentError:
    return ConsentError(
        "the ledger shows no permission that this withdrawal ends, and too many such came",
        code="TW6076",
        help="wait a minute and try again; your hospital's desk takes it at any time",
    )
