"""A finished run with real keys, real masks and a real transcript; only its numbers are made up.

Network, Flower and the ledger's node stay out: what the parts of secure sum would have sent is put
together with their own code, so packs made from it are what a real run gives.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ledger.deployed import Addresses
from server.release import transcript_records
from server.transcript import AttemptRecord, EpochRecord, MaskedRecord, Transcript
from twinward import canonical, descent
from twinward.founding import KIND as FOUNDING_KIND
from twinward.founding import Founding, keys_document, tls_key_digest
from twinward.ids import OrgName, StudyId
from twinward.plan import Evaluation, FedAvg, Plan, Sampling, evaluation_run
from twinward.quorum import Sizes
from twinward.secsum import masks, transcript
from twinward.secsum.messages import Advertise, Close, Masked, Next, Offer, Roster, Signed, Sum, raw
from twinward.secsum.profile import KEPT_DIMENSION
from twinward.secsum.words import WordFormat
from twinward.shards import Shard
from twinward.signing import Document, Identity

HOSPITALS = ("basel", "bern", "chur", "genf")


def certificate(key) -> str:
    """A self-signed certificate; the founding file only needs its public key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class FinishedRun:
    """Everything that a release is made from, and the private keys to lie with."""

    identities: dict[str, Identity]
    founding: Founding
    plan: Plan
    plan_document: Document
    order: Document
    run: bytes
    transcript: Transcript
    weights: np.ndarray
    history: bytes
    consent: bytes = field(default=b"\x07" * 32)
    evaluation: Transcript | None = None

    @property
    def coordinator(self) -> Identity:
        return self.identities["coordinator"]


def found(identities, *, accounts=None, chain=None) -> Founding:
    """A founding file that everyone signed."""
    accounts = accounts or {org: "0x" + os.urandom(20).hex() for org in identities}
    chain = chain or {
        "genesis_hash": os.urandom(32).hex(),
        "contracts": Addresses.of("0x" + os.urandom(20).hex()).to_json(),
    }
    members = []
    for org, identity in identities.items():
        key = generate_private_key(SECP256R1())
        keys = keys_document(
            org=OrgName(org),
            role="coordinator" if org == "coordinator" else "hospital",
            identity=identity.public,
            tls_spki_sha256=tls_key_digest(key.public_key()),
            flower_public_key=f"flower {org}",
            ledger_account=accounts[org],
        ).signed_by(identity)
        members.append({"keys": canonical.decode(keys.encode()), "certificate": certificate(key)})
    document = Document(
        FOUNDING_KIND,
        {
            "network": "testnet",
            "chain": chain,
            "endpoints": {"network": "n", "flower": "f", "ledger": "l"},
            "ca_certificate": "PEM",
            "members": members,
        },
    )
    for identity in identities.values():
        document = document.signed_by(identity)
    return Founding.decode(document.encode())


def make_plan(
    founding: Founding,
    *,
    steps=4,
    dimension=3,
    word_bits=64,
    evaluation=None,
    sampling=None,
    fedavg=None,
    sizes=None,
    shards=None,
) -> Plan:
    """A small plan with the proportions of the real one."""
    return Plan(
        network=founding.chain["genesis_hash"],
        study=StudyId("heart-risk"),
        model="cardiac_risk/1",
        sites=tuple(hospital.org for hospital in founding.hospitals),
        steps=steps,
        spare_attempts=3,
        averaged_steps=2,
        epsilon=1.0,
        delta=1e-5,
        max_grad_norm=2.0,
        learning_rate=0.45,
        divisor=600,
        grid=2.0 / 65536,
        word_bits=word_bits,
        max_patients_per_hospital=4096 if word_bits == 64 else 100,
        slot_seconds=0.01,
        deadline_seconds=1.0,
        purpose="heart-research",
        grades=("signed-on-device",),
        model_spec={"name": "cardiac_risk/1"},
        start_weights=tuple(0.25 - 0.125 * i for i in range(dimension)),
        evaluation=evaluation,
        sampling=sampling,
        fedavg=fedavg,
        sizes=sizes,
        shards=shards,
        aggregate="secure_sum" if fedavg is None else "fedavg",
    )


class Sums:
    """Plays one run into a transcript: epochs, summed and lost attempts, closings.

    ``plan`` has the numbers; ``digest`` names another plan where they are those of an evaluation.
    """

    def __init__(self, path: Path, *, identities, founding, plan, run, digest=None) -> None:
        self.identities, self.plan, self.run = identities, plan, run
        self.digest = digest or plan.digest
        self.by = {raw(identity.public.fingerprint): identity for identity in identities.values()}
        self.words = WordFormat(plan.word_bits, plan.dimension)
        self.transcript = Transcript.create(path, run=run, plan=self.digest)
        self.history = transcript.history_start(run, self.digest)
        self.sums, self.iterates = [], []
        self.epoch, self.attempts = 0, {}
        self.consent = b"\x07" * 32
        self.rng = np.random.default_rng(7)

    def begin(self, orgs) -> None:
        """M1 to M3."""
        self.epoch += 1
        self.members = tuple(sorted(raw(self.identities[o].public.fingerprint) for o in orgs))
        place = {"run": self.run, "plan": self.digest, "epoch": self.epoch}
        roster = transcript.roster_digest(self.members)
        coordinator = self.identities["coordinator"]
        offer = Signed.by(
            coordinator,
            Offer(
                **place,
                roster=roster,
                history=self.history,
                step=len(self.iterates) + 1,
                steps=self.plan.steps,
                members=len(self.members),
                attempts_left=self.plan.attempts - max([0, *self.attempts.values()]),
                dimension=self.plan.dimension,
                word_bits=self.plan.word_bits,
            ),
        )
        private = {member: X25519PrivateKey.generate() for member in self.members}
        keys = {member: masks.public_key(private[member]) for member in self.members}
        adverts = tuple(
            Signed.by(
                self.by[member],
                Advertise(
                    **place, sender=member, roster=roster, key=keys[member], nonce=os.urandom(32)
                ),
            )
            for member in self.members
        )
        self.setup = transcript.setup_digest(offer.head, [advert.head for advert in adverts])
        signed = Signed.by(coordinator, Roster(**place, roster=roster, setup=self.setup))
        self.transcript.add_epoch(
            EpochRecord(self.epoch, self.members, self.setup, offer, signed, adverts)
        )
        self.pairs = {
            (own, peer): masks.pair_key(
                private[own], keys[peer], setup=self.setup, own=own, peer=peer
            )
            for own in self.members
            for peer in self.members
            if own != peer
        }

    def _masked(self, member: bytes, vector: np.ndarray) -> MaskedRecord:
        step = len(self.iterates) + 1
        keys = {peer: self.pairs[member, peer] for peer in self.members if peer != member}
        streams = masks.Masks(keys, own=member, epoch=self.epoch, step=step, history=self.history)
        (words,) = self.words.pieces_of(vector)
        streams.add_to(words)
        data = words.tobytes()
        head = Masked(
            run=self.run,
            plan=self.digest,
            epoch=self.epoch,
            sender=member,
            setup=self.setup,
            history=self.history,
            consent=self.consent,
            vector=canonical.tagged_hash("secsum-a/vector/v1", data),
            step=step,
        )
        self.attempts[member] = self.attempts.get(member, 0) + 1
        return MaskedRecord(member, Signed.by(self.by[member], head), data)

    def step(self, *, lost: str | None = None, vectors=None) -> None:
        """M4 and M5; without a sum if a member is lost after the others have sent."""
        size = self.plan.dimension
        if vectors is None:
            limit = min(10**6, self.plan.max_abs_sum // len(self.members))
            vectors = {m: self.rng.integers(-limit, limit, size) for m in self.members}
        gone = raw(self.identities[lost].public.fingerprint) if lost else None
        masked = tuple(self._masked(m, vectors[m]) for m in self.members if m != gone)
        step = len(self.iterates) + 1
        if gone is not None:
            kept = self._kept(masked)
            self.transcript.add_attempt(AttemptRecord(self.epoch, step, kept, (gone,)))
            return
        words = [self.words.from_bytes(one.vector) for one in masked]
        data = np.sum(words, axis=0, dtype=self.words.dtype).tobytes()
        total = self.words.to_integers(self.words.from_bytes(data), limit=self.plan.max_abs_sum)
        head = Sum(
            run=self.run,
            plan=self.digest,
            epoch=self.epoch,
            setup=self.setup,
            history=self.history,
            total=canonical.tagged_hash("secsum-a/total/v1", data),
            heads=transcript.heads_digest([one.signed.blob for one in masked]),
            step=step,
            then=Next.STEP if step < self.plan.steps else Next.CLOSE,
        )
        signed = Signed.by(self.identities["coordinator"], head)
        kept = self._kept(masked)
        self.transcript.add_attempt(AttemptRecord(self.epoch, step, kept, (), signed, data))
        self.history = transcript.history_next(
            self.history, epoch=self.epoch, step=step, members=self.members, total=head.total
        )
        self.sums.append(total)
        self.iterates = descent.follow(self.plan, self.sums)

    def _kept(self, masked: tuple[MaskedRecord, ...]) -> tuple[MaskedRecord, ...]:
        if self.words.dimension <= KEPT_DIMENSION:
            return masked
        return tuple(replace(one, vector=None) for one in masked)

    def close(self, *, model: bytes | None = None) -> None:
        """M6."""
        model = model or descent.digest(descent.release(self.plan, self.iterates))
        self.transcript.finish(
            {
                member: Signed.by(
                    self.by[member],
                    Close(
                        run=self.run,
                        plan=self.digest,
                        epoch=self.epoch,
                        sender=member,
                        setup=self.setup,
                        history=self.history,
                        model=model,
                        steps=len(self.iterates),
                        attempts=self.attempts[member],
                    ),
                )
                for member in self.members
            }
        )


def finished_run(
    folder: Path,
    *,
    steps=4,
    dimension=3,
    word_bits=64,
    accounts=None,
    chain=None,
    evaluation: Evaluation | None = None,
    sampling: Sampling | None = None,
    fedavg: FedAvg | None = None,
    sizes: Sizes | None = None,
    shard: Shard | None = None,
) -> FinishedRun:
    """A run of four hospitals in which one is lost after the second step; of a ``shard`` of two.

    With an ``evaluation`` in the plan another one is lost in it: the last is done by three.
    """
    identities = {org: Identity.generate() for org in ("coordinator", *HOSPITALS)}
    founding = found(identities, accounts=accounts, chain=chain)
    plan = make_plan(
        founding, steps=steps, dimension=dimension, word_bits=word_bits, evaluation=evaluation,
        sampling=sampling, fedavg=fedavg, sizes=sizes, shards=shard and 2,
    )  # fmt: skip
    plan.require_consistent()
    run = os.urandom(32) if shard is None else bytes.fromhex(shard.run)
    sums = Sums(
        folder / "transcript.sqlite",
        identities=identities,
        founding=founding,
        plan=plan,
        run=run,
    )
    sums.begin(HOSPITALS)
    for _ in range(steps // 2):
        sums.step()
    sums.step(lost="genf")
    sums.begin(HOSPITALS[:3] if evaluation is None else HOSPITALS)
    for _ in range(steps - steps // 2):
        sums.step()
    sums.close()
    weights = descent.release(plan, sums.iterates)
    coordinator = identities["coordinator"]
    ordered = {"run": run.hex(), "plan": plan.digest.hex()}
    if shard is not None:
        ordered["shard"] = shard.as_json()
    order = Document("twinward/run/v1", ordered)
    return FinishedRun(
        identities=identities,
        founding=founding,
        plan=plan,
        plan_document=plan.to_document().signed_by(coordinator),
        order=order.signed_by(coordinator),
        run=run,
        transcript=sums.transcript,
        weights=weights,
        history=sums.history,
        evaluation=evaluation
        and measured(folder / "evaluation.sqlite", sums, plan, model=descent.digest(weights)),
    )


def measured(path: Path, training: Sums, plan: Plan, *, model: bytes) -> Transcript:
    """The evaluation of that run: chur is lost at first, the other three are summed."""
    numbers = plan.for_evaluation()
    sums = Sums(
        path,
        identities=training.identities,
        founding=None,
        plan=numbers,
        run=evaluation_run(training.run),
        digest=plan.digest,
    )
    ill, well = [1, 2, 3, 4, 6, 9, 12, 20], [22, 14, 9, 6, 4, 3, 2, 1]
    counts = np.array(ill + well, dtype=np.int64) * 65536

    def vectors():
        noise = {m: sums.rng.integers(-65536, 65536, numbers.dimension) for m in sums.members}
        return {member: counts + noise[member] for member in sums.members}

    sums.begin(HOSPITALS)
    sums.step(lost="chur", vectors=vectors())
    sums.begin([org for org in HOSPITALS if org != "chur"])
    sums.step(vectors=vectors())
    sums.close(model=model)
    return sums.transcript


class NoLedger:
    """A ledger that is there but proves nothing: for tests of everything else."""

    def __init__(self) -> None:
        self.recorded: list[bytes] = []

    def record_model(self, digest, *, parents) -> None:
        if digest not in self.recorded:
            self.recorded.append(digest)

    def proofs(self, claims):
        return {"blocks": [], "proofs": []}


def all_records(run: FinishedRun) -> dict[str, bytes]:
    """The records of the transcript alone."""
    return transcript_records(run.transcript)
