"""Forty-four faults that a coordinator can have, each provoked, and what its doctor calls them."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server import ca, ca_rollover
from server.study_queue import PARKED, StudyQueue
from server.transcript import Transcript
from tests.simulators.one_coordinator import RUN, STUDY
from twinward.clock import FixedClock
from twinward.doctor.findings import Result
from twinward.ids import RunId
from twinward.signing import Identity

OTHER = RunId("77" * 32)


def at(days):
    def move(coordinator):
        coordinator.place.clock = FixedClock(coordinator.place.clock.now() + days * 86_400)

    return move


def machine(**change):
    def damage(coordinator):
        for name, value in change.items():
            setattr(coordinator.place.machine, name, value)

    return damage


def mode(name, bits):
    return lambda coordinator: (coordinator.folder / name).chmod(bits)


def gone(name):
    return lambda coordinator: (coordinator.folder / name).unlink()


def setting(old, new):
    return lambda coordinator: coordinator.edit("coordinator.toml", old, new)


def not_a_folder(coordinator):
    shutil.rmtree(coordinator.folder / "state")
    (coordinator.folder / "state").write_text("in the way")


def other_identity(coordinator):
    path = coordinator.folder / "secrets" / "identity.key"
    path.unlink()
    Identity.generate().save(path)


def change_founding(coordinator):
    coordinator.edit("founding.json", '"network":"demo"', '"network":"dema"')


def other_key(coordinator):
    key = ec.generate_private_key(ec.SECP256R1())
    (coordinator.folder / "secrets" / "tls.key").write_bytes(ca.private_pem(key))


def other_authority(coordinator):
    ca.create(
        key_file=coordinator.folder / "other.key", certificate_file=coordinator.folder / "ca.pem",
        network="other", now=coordinator.place.clock.now(),
    )  # fmt: skip


def rolled(coordinator):
    ca_rollover.roll(
        coordinator.place.organisation, network="demo", now=coordinator.place.clock.now()
    )


def door_without_files(coordinator):
    shutil.rmtree(coordinator.folder / "front_door")


def sql(name, statement):
    def damage(coordinator):
        with closing(sqlite3.connect(coordinator.folder / "state" / name)) as database:
            database.execute(statement)
            database.commit()

    return damage


def garbage(name):
    def damage(coordinator):
        path = coordinator.folder / "state" / name
        path.write_bytes(os.urandom(4096) + path.read_bytes()[4096:])

    return damage


def checkpoint_of_block(number):
    def sign(coordinator):
        folder = coordinator.folder / "checkpoints"
        (folder / f"99-{number}.txt").write_text("signed once")

    return sign


def interrupted(coordinator):
    path = coordinator.paths.transcript(OTHER)
    Transcript.create(path, run=bytes.fromhex(OTHER), plan=bytes(32)).close()


def unreleased(coordinator):
    path = coordinator.paths.transcript(OTHER)
    with closing(Transcript.create(path, run=bytes.fromhex(OTHER), plan=bytes(32))) as run:
        run.finish({})


def queued(*, turn="open", ended=None):
    def add(coordinator):
        with closing(StudyQueue(coordinator.paths.queue)) as queue:
            number = queue.add(STUDY).number
            queue.turn(turn)
            if ended is not None:
                queue.ended(number, PARKED, code=ended, cause="somebody is missing")

    return add


FAULTS = [
    ("no configuration", gone("coordinator.toml"), "configuration", "TW1050"),
    ("not TOML", setting('org = "', "org = "), "configuration", "TW1051"),
    ("unknown key", setting("join_port", "joint_port"), "configuration", "TW1052"),
    ("key readable by others", mode("secrets/ca.key", 0o644), "secrets", "TW2005"),
    ("key gone", gone("secrets/ledger.key"), "secrets", "TW1014"),
    ("folder of keys open", mode("secrets", 0o755), "secrets", "TW7340"),
    ("folder of state open", mode("state/queue", 0o755), "secrets", "TW7340"),
    ("disk full", machine(free=100 * 2**20), "disk", "TW7322"),
    ("disk nearly full", machine(free=3 * 2**30), "disk", "TW7323"),
    ("state cannot be written", not_a_folder, "state folder", "TW7324"),
    ("little memory", machine(memory=2**28), "memory", "TW7325"),
    ("few open files", machine(descriptors=256), "open files", "TW7327"),
    ("a newer release was here", sql("queue/queue.sqlite", "pragma user_version = 9"), "databases",
     "TW7408"),
    ("not founded", gone("founding.json"), "founding file", "TW1035"),
    ("founding file changed", change_founding, "founding file", "TW2002"),
    ("another identity", other_identity, "founding file", "TW2013"),
    ("authority's key gone", gone("secrets/ca.key"), "authority", "TW6040"),
    ("authority unreadable", lambda c: (c.folder / "ca.pem").write_text("no"), "authority",
     "TW7341"),
    ("authority expired", at(3651), "authority", "TW7642"),
    ("authority ends soon", at(3600), "authority", "TW7643"),
    ("roll-over not ended", rolled, "authority", "TW7644"),
    ("key of another certificate", other_key, "certificate", "TW7342"),
    ("authority replaced", other_authority, "certificate", "TW7343"),
    ("certificate not yet valid", at(-5), "certificate", "TW7344"),
    ("certificate expired", at(91), "certificate", "TW7345"),
    ("certificate ends soon", at(80), "certificate", "TW7346"),
    ("front door not written", door_without_files, "front door", "TW7647"),
    ("front door of before a roll-over", rolled, "front door", "TW7648"),
    ("front door's certificate expired", at(91), "front door", "TW7345"),
    ("front door's certificate ends soon", at(80), "front door", "TW7346"),
    ("a block changed", sql("ledger/chain.sqlite", "update blocks set header = x'c0' where number "
     "= 1"), "ledger: blocks", "TW7655"),
    ("a block gone", sql("ledger/chain.sqlite", "delete from blocks where number = 1"),
     "ledger: blocks", "TW7655"),
    ("ledger damaged", garbage("ledger/chain.sqlite"), "ledger: blocks", "TW7655"),
    ("another ledger", sql("ledger/chain.sqlite", "update blocks set hash = zeroblob(32) where "
     "number = 0"), "ledger: blocks", "TW5021"),
    ("an old copy of the ledger", checkpoint_of_block(900), "ledger: checkpoints", "TW7656"),
    ("clock behind", at(-0.02), "clock", "TW7641"),
    ("clock not kept", machine(kept=False), "clock", "TW7640"),
    ("audit log changed", sql("audit/audit.sqlite", "update nodes set hash = zeroblob(32)"),
     "audit log", "TW3613"),
    ("audit log not anchored", at(30), "audit log: ledger", "TW7355"),
    ("run interrupted", interrupted, "runs", "TW7657"),
    ("model not released", unreleased, "runs", "TW6236"),
    ("transcript damaged", garbage(f"transcripts/{RUN}.sqlite"), "runs", "TW6141"),
    ("study parked", queued(ended="TW6239"), "queue", "TW7659"),
    ("queue paused", queued(turn="paused"), "queue", "TW7660"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "check", "code"), [f[1:] for f in FAULTS],
                         ids=[f[0] for f in FAULTS])  # fmt: skip
def test_a_fault_is_named(coordinator, damage, check, code):
    damage(coordinator)
    found = coordinator.examine(check)[check]
    assert (found.code, found.result in {Result.FAULT, Result.CONCERN}) == (code, True), found
    assert len(found.fix) > 10


def test_a_parked_study_is_told_with_the_code_of_its_cause(coordinator):
    queued(ended="TW6239")(coordinator)
    assert f"`{STUDY}` [TW6239]" in coordinator.examine("queue")["queue"].what
