"""The secrets of one epoch at a node: fresh keys, one vector per step, gone at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hospital_node.secure_sum_checks import OwnPart, Standing, Terms
from twinward.errors import IdentityError, TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import masks, transcript
from twinward.secsum.frames import pack, signed_of
from twinward.secsum.messages import Advertise, Kind, Masked, Offer, Roster, Signed, raw
from twinward.secsum.profile import noise_shares
from twinward.secsum.vectors import data_frame
from twinward.secsum.words import Contribution, Words
from twinward.signing import Identity


class Epoch:
    """One declared set of members; keys live in this object only and go with it.

    ``erase`` drops every reference to them. Python cannot promise to wipe memory; a crashed or
    finished process leaves nothing on disk.
    """

    def __init__(self, offer: Offer, signed: Signed, members: tuple[bytes, ...]) -> None:
        self.offer = offer
        self.members = members
        self.setup: bytes | None = None
        self.over = asyncio.Event()
        self._signed_offer = signed
        self._private: X25519PrivateKey | None = X25519PrivateKey.generate()
        self._pair_keys: dict[bytes, bytes] = {}
        self._advert: Signed | None = None
        self._step = 0
        self._sent: Signed | None = None

    @classmethod
    def accept(cls, frame: Frame, *, terms: Terms, standing: Standing, own: bytes) -> Epoch:
        """Check M1; fresh keys if it is acceptable.

        Raises:
            IdentityError: TW2002 not the coordinator's; TW6108 a member this site does not accept.
            TrainingError: TW6100 too few members; TW6109 another run, plan, size or history;
                TW6113 an epoch that is over.
        """
        signed = signed_of(frame)
        offer = signed.opened(Offer, terms.coordinator)
        members = tuple(frame.data[i : i + 32] for i in range(0, len(frame.data), 32))
        if offer.epoch <= standing.epoch:
            raise TrainingError(
                f"epoch {offer.epoch} was offered after epoch {standing.epoch}",
                code="TW6113",
                help="nothing was sent; the coordinator does not follow the protocol",
            )
        expected = (terms.run, terms.plan, standing.history, standing.steps + 1, terms.steps)
        size = (terms.words.dimension, terms.words.bits)
        if expected != (offer.run, offer.plan, offer.history, offer.step, offer.steps) or size != (
            offer.dimension,
            offer.word_bits,
        ):
            raise TrainingError(
                "the coordinator offers another run, plan, size or history than this node holds",
                code="TW6109",
                help="nothing was sent; start a new run of the plan that this site approved",
            )
        noise_shares(len(members))
        if (
            list(members) != sorted(set(members))
            or own not in members
            or offer.members != len(members)
            or offer.roster != transcript.roster_digest(members)
        ):
            raise TrainingError(
                "the offered members are not a proper set that names this node",
                code="TW6110",
                help="nothing was sent; the coordinator does not follow the protocol",
            )
        if foreign := [member.hex()[:16] for member in members if member not in terms.peers]:
            raise IdentityError(
                f"this site does not accept {', '.join(foreign)} as a member",
                code="TW6108",
                help="compare the founding file and the site's policy with the coordinator's",
            )
        if not terms.enough(members):
            raise TrainingError(
                "the offered members hold a smaller part of the patients than the plan asks for",
                code="TW6240",
                help="nothing was sent; the coordinator does not follow the plan",
            )
        return cls(offer, signed, members)

    def advertise(self, identity: Identity) -> Frame:
        """M2: this node's fresh key for exactly this epoch and set."""
        assert self._private is not None  # noqa: S101 - erased epochs are dropped by the driver
        offer = self.offer
        self._advert = Signed.by(
            identity,
            Advertise(
                run=offer.run,
                plan=offer.plan,
                epoch=offer.epoch,
                sender=raw(identity.public.fingerprint),
                roster=offer.roster,
                key=masks.public_key(self._private),
                nonce=os.urandom(32),
            ),
        )
        return pack(Kind.ADVERTISE, self._advert)

    def enter(self, frame: Frame, *, terms: Terms, own: bytes) -> bool:
        """Check M3 and derive the pair keys; False if it belongs to another epoch.

        Raises:
            IdentityError: TW2002 a forged advert; TW6107 a key without secret; TW6114 not exactly
                the declared members, an advert of another epoch, a key used twice.
        """
        roster = signed_of(frame).opened(Roster, terms.coordinator)
        offer = self.offer
        if roster.epoch != offer.epoch or self.setup is not None or self._advert is None:
            return False
        adverts = [Signed.of_blob(blob) for blob in frame.heads]
        if len(adverts) != len(self.members):
            raise _bad_roster("it does not hold one key of every declared member")
        opened = [
            advert.opened(Advertise, terms.peers[member])
            for advert, member in zip(adverts, self.members, strict=True)
        ]
        for advert, member in zip(opened, self.members, strict=True):
            place = (advert.run, advert.plan, advert.epoch, advert.roster, advert.sender)
            if place != (offer.run, offer.plan, offer.epoch, offer.roster, member):
                raise _bad_roster("a key was announced for another epoch, run or set of members")
        if len({advert.key for advert in opened}) != len(opened):
            raise _bad_roster("two members announce the same key")
        if self._advert not in adverts:
            raise _bad_roster("this node's own key was exchanged")
        setup = transcript.setup_digest(self._signed_offer.head, [a.head for a in adverts])
        if (roster.run, roster.plan, roster.roster, roster.setup) != (
            offer.run,
            offer.plan,
            offer.roster,
            setup,
        ):
            raise _bad_roster("its digest is not that of the keys in it")
        assert self._private is not None  # noqa: S101 - as above
        self._pair_keys = {
            advert.sender: masks.pair_key(
                self._private, advert.key, setup=setup, own=own, peer=advert.sender
            )
            for advert in opened
            if advert.sender != own
        }
        self._private = None
        self.setup = setup
        return True

    def mask(
        self,
        vector: Contribution | Iterator[Contribution],
        *,
        identity: Identity,
        terms: Terms,
        standing: Standing,
        consent: bytes,
    ) -> Iterator[Frame]:
        """M4, frame by frame: the vector under this step's masks. One vector per step, ever.

        Each frame is made when it is asked for, so a large vector is never held masked as a whole.

        Raises:
            TrainingError: TW6103 the vector does not fit; TW6115 a second vector for one step.
        """
        step = standing.steps + 1
        if self.setup is None or self._step >= step:
            raise TrainingError(
                f"a second vector for step {step} of epoch {self.offer.epoch} was refused",
                code="TW6115",
                help="nothing was sent; report this, it is a fault of the node",
            )
        self._step, self._sent = step, None
        own = raw(identity.public.fingerprint)
        streams = masks.Masks(
            self._pair_keys, own=own, epoch=self.offer.epoch, step=step, history=standing.history
        )
        head = Masked(
            run=terms.run,
            plan=terms.plan,
            epoch=self.offer.epoch,
            sender=own,
            setup=self.setup,
            history=standing.history,
            consent=consent,
            vector=b"",
            step=step,
        )
        return self._frames(terms.words.pieces_of(vector), streams, head, identity, terms)

    def _frames(
        self,
        pieces: Iterator[Words],
        streams: masks.Masks,
        head: Masked,
        identity: Identity,
        terms: Terms,
    ) -> Iterator[Frame]:
        digest = transcript.vector_hash(terms.words.data_bytes)
        last = terms.words.pieces - 1
        for index, piece in enumerate(pieces):
            if not terms.visible:
                streams.add_to(piece)
            data = piece.tobytes()
            digest.update(data)
            if index < last:
                yield data_frame(index, data)
                continue
            self._sent = Signed.by(identity, replace(head, vector=digest.digest()))
            yield pack(Kind.MASKED, self._sent, data=data)

    def part(self, step: int) -> OwnPart:
        """What this node has put into this step, to compare with the sum that comes back."""
        sent = self._sent if self._step == step else None
        return OwnPart(self.offer.epoch, self.members, self.setup, sent)

    def erase(self) -> None:
        """Forget every key of the epoch: nothing of it can be masked or unmasked again."""
        self._private = None
        self._pair_keys.clear()
        self.setup = None
        self.over.set()


def _bad_roster(why: str) -> IdentityError:
    return IdentityError(
        f"the keys of an epoch were refused: {why}",
        code="TW6114",
        help="nothing was sent; the coordinator or a member does not follow the protocol",
    )
