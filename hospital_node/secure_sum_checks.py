"""What a node checks before it believes a sum. Nothing here talks to a network.

``Terms`` is what the site has agreed to for a run, ``Standing`` how far the run has come at this
node, ``OwnPart`` what this node itself put into the step. The coordinator is trusted for nothing
but delivery: every check that protects a patient is made by the node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from twinward.errors import IdentityError, TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import transcript
from twinward.secsum.frames import signed_of
from twinward.secsum.messages import Masked, Signed, Sum
from twinward.secsum.profile import noise_shares
from twinward.secsum.vectors import Arrival
from twinward.secsum.words import Integers, WordFormat, Words
from twinward.signing import PublicIdentity

PROMPT_MEMBERS = 16
"""Up to so many members, everyone's signatures are checked before a sum is applied; above, while
the next one is waited for: 64 of them take 5 ms."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a site has agreed to for one run.

    ``peers`` are the members that the site accepts, itself included, by raw fingerprint.
    ``max_abs_sum`` bounds every coordinate of a sum, in grid steps. Only with ``visible`` do
    vectors leave without masks. ``enough`` says whether these members may make steps together.
    """

    run: bytes
    plan: bytes
    words: WordFormat
    steps: int
    max_abs_sum: int
    coordinator: PublicIdentity
    peers: Mapping[bytes, PublicIdentity]
    visible: bool = False
    enough: Callable[[Collection[bytes]], bool] = lambda _: True


@dataclass(slots=True)
class Standing:
    """How far a run has come at this node; the history decides which masks can cancel."""

    history: bytes
    steps: int = 0
    epoch: int = 0
    totals: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A head that is said to be this member's."""

    signed: Signed
    member: PublicIdentity

    def require(self) -> None:
        """Check the signature.

        Raises:
            IdentityError: TW2002, it is forged.
        """
        self.member.verify(Masked.KIND.signed_as, self.signed.head, self.signed.signature)


class IncomingSum:
    """The words of a sum on their way in; nothing of them is believed before ``check_sum``.

    A large sum takes the place of the one before: fresh memory would cost more than hashing.
    """

    def __init__(self, words: WordFormat) -> None:
        self.words: Words = np.empty(0, dtype=words.dtype)
        self._format = words
        self._arrival: Arrival | None = None

    def forget(self) -> None:
        """Let go of the pieces that came; the next one is the first of another sum."""
        self._arrival = None

    def take(self, frame: Frame) -> None:
        """Take the next piece.

        Raises:
            TrainingError: TW6104.
        """
        form = self._format
        if self._arrival is None:
            self._arrival = Arrival(form, transcript.total_hash(form.data_bytes))
            if form.pieces == 1 or not self.words.size:
                self.words = np.empty(form.count, dtype=form.dtype)
        start, piece = self._arrival.take(frame)
        self.words[start : start + piece.size] = piece

    def digest(self) -> bytes:
        """Digest of what came; of nothing, it is nobody's."""
        return self._arrival.digest() if self._arrival else b""


@dataclass(frozen=True, slots=True)
class Total:
    """A sum that passed every check: integers in grid steps, and who is in it.

    ``claims`` are the members' heads whose signatures are still to be checked.
    """

    head: Sum
    members: tuple[bytes, ...]
    integers: Integers
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class OwnPart:
    """This node's part in the current epoch; ``sent`` is the M4 head that left for this step."""

    epoch: int
    members: tuple[bytes, ...]
    setup: bytes | None
    sent: Signed | None


class Repeated(Exception):
    """A sum that this node has applied already, unchanged."""


def check_sum(
    frame: Frame,
    incoming: IncomingSum,
    *,
    terms: Terms,
    standing: Standing,
    part: OwnPart | None,
) -> Total:
    """Check M5: this step's only sum, over exactly the members, of the vectors they signed.

    Without an epoch (a node that catches up after a break) the members are those whose heads are
    shown; they must still be accepted here and agree with this node's history. Signatures of more
    than ``PROMPT_MEMBERS`` members are left to the caller, as ``Total.claims``.

    Raises:
        IdentityError: TW2002 a forged head; TW6108 a member this site does not accept.
        TrainingError: TW6105, TW6106 masks did not cancel, out of range; TW6111 a second sum for
            one step; TW6112 not the sum that was due; TW6116 heads of other members or of other
            models than this node's.
    """
    head = signed_of(frame).opened(Sum, terms.coordinator)
    if (head.run, head.plan) != (terms.run, terms.plan):
        raise _unexpected_sum("it is of another run or plan")
    if head.total != incoming.digest():
        raise _unexpected_sum("it is not the one that the coordinator signed")
    if head.step <= standing.steps:
        if standing.totals.get(head.step) == head.total:
            raise Repeated
        raise TrainingError(
            f"a second, different sum for step {head.step} was refused",
            code="TW6111",
            note="the coordinator signed both: together they prove that it lied",
            help="nothing was applied; keep this node's log and talk to the other members",
        )
    if (head.step, head.history) != (standing.steps + 1, standing.history):
        raise _unexpected_sum("it is for another step or another model")
    if part is not None and (head.epoch, head.setup) != (part.epoch, part.setup):
        raise _unexpected_sum("it is of another epoch")
    claims = _check_heads(frame, head, terms=terms, part=part)
    members = tuple(claims)
    if len(members) <= PROMPT_MEMBERS:
        for claim in claims.values():
            claim.require()
        claims.clear()
    integers = terms.words.to_integers(incoming.words, limit=terms.max_abs_sum)
    return Total(head, members, integers, tuple(claims.values()))


def _check_heads(
    frame: Frame, head: Sum, *, terms: Terms, part: OwnPart | None
) -> dict[bytes, Claim]:
    """The heads in an M5 by member, each for exactly this step and history; not yet verified.

    They are what the coordinator signed; a lie in them costs no privacy, because masks cancel only
    for this step and history. Whether members really signed them is evidence, and checked apart.
    """
    shown = [Signed.of_blob(blob) for blob in frame.heads]
    opened = [Masked.decode(signed.head) for signed in shown]
    senders = tuple(masked.sender for masked in opened)
    noise_shares(len(senders))
    if list(senders) != sorted(set(senders)) or (part is not None and senders != part.members):
        raise _bad_heads("its vectors are not from exactly the declared members")
    claims = {}
    for signed, masked in zip(shown, opened, strict=True):
        if masked.sender not in terms.peers:
            raise IdentityError(
                f"this site does not accept {masked.sender.hex()[:16]} as a member",
                code="TW6108",
                help="compare the founding file and the site's policy with the coordinator's",
            )
        place = (masked.run, masked.plan, masked.epoch, masked.step, masked.setup, masked.history)
        if place != (head.run, head.plan, head.epoch, head.step, head.setup, head.history):
            raise _bad_heads("its members did not all work on the same step of the same model")
        claims[masked.sender] = Claim(signed, terms.peers[masked.sender])
    if part is not None and part.sent not in shown:
        raise _bad_heads("this node's own vector is not in it as it was sent")
    if head.heads != transcript.heads_digest(list(frame.heads)):
        raise _bad_heads("the vectors' heads are not those that the coordinator signed")
    return claims


def _unexpected_sum(why: str) -> TrainingError:
    return TrainingError(
        f"a sum was refused: {why}",
        code="TW6112",
        help="nothing was applied; the coordinator does not follow the protocol",
    )


def _bad_heads(why: str) -> TrainingError:
    return TrainingError(
        f"a sum was refused: {why}",
        code="TW6116",
        help="nothing was applied; keep this node's log and talk to the other members",
    )
