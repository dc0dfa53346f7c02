"""Which co-signatures of checkpoints the coordinator keeps, and what it refuses."""

import os
from dataclasses import replace

import pytest

from ledger import verify
from ledger.log import checkpoint
from ledger.questions.workspace import CHECKPOINTS
from server.checkpoints import Checkpoints
from tests.simulators.finished_run import found
from twinward.errors import EvidenceError, IdentityError, UsageError
from twinward.signing import Identity

ORGS = ("coordinator", "east", "north", "south")
NOW = 1_800_000_000


class World:
    def __init__(self, folder):
        self.identities = {org: Identity.generate() for org in ORGS}
        self.founding = found(self.identities)
        self.folder = folder / CHECKPOINTS
        self.folder.mkdir()
        self.kept = Checkpoints(folder, founding=self.founding)
        self.origin = checkpoint.network_origin(bytes.fromhex(self.founding.chain["genesis_hash"]))

    def states(self, size, *, root=None):
        return verify.Checkpoint(
            self.origin, size, root or os.urandom(32), os.urandom(32), (7, os.urandom(32))
        )

    def signs(self, size, *, by="coordinator"):
        """A checkpoint in the folder."""
        stated = self.states(size)
        note = checkpoint.sign(stated, self.identities[by])
        (self.folder / checkpoint.file_name(stated)).write_bytes(note.encode())
        return note

    def cosigned(self, note, org, *, as_org=None):
        name = checkpoint.witness_name(as_org or org)
        return checkpoint.cosign(note, self.identities[org], name=name, time=NOW)

    def take(self, org, note=None):
        body = b"" if note is None else note.encode()
        return self.kept.take(self.identities[org].public.fingerprint, body)

    def cosigners(self, data):
        hospitals = {org: self.identities[org].public for org in ORGS[1:]}
        return sorted(checkpoint.cosigned_by(verify.Note.parse(data), hospitals))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_each_hospital_s_signature_is_added_to_the_newest_and_stays_on_disk(world, tmp_path):
    assert world.take("east") == b""
    world.signs(9)
    newest = world.signs(10)
    assert world.take("east") == newest.encode()
    for org in ("east", "north", "east"):  # each signs what it was handed, as it was then
        world.take(org, world.cosigned(newest, org))
    again = Checkpoints(tmp_path, founding=world.founding)
    data = again.take(world.identities["south"].public.fingerprint, b"")
    assert world.cosigners(data) == ["east", "north"]
    assert len(verify.Note.parse(data).signatures) == 3


def test_nobody_signs_for_another_and_strangers_do_not_sign(world):
    note = world.signs(10)
    for wrong in (
        note,
        world.cosigned(note, "north"),
        world.cosigned(note, "north", as_org="east"),
    ):
        with pytest.raises(IdentityError) as refused:
            world.take("east", wrong)
        assert refused.value.code == "TW3641"
    with pytest.raises(IdentityError) as refused:
        world.take("coordinator")
    assert refused.value.code == "TW3559"
    # Other signatures that come along are not taken over.
    both = world.cosigned(world.cosigned(note, "north"), "east")
    assert world.cosigners(world.take("east", both)) == ["east"]


def test_only_a_checkpoint_that_was_handed_out_is_kept(world):
    note = world.signs(10)
    stated = verify.Checkpoint.parse(note.text)
    coordinator = world.identities["coordinator"]
    elsewhere = checkpoint.sign(world.states(11), coordinator)
    twin = checkpoint.sign(replace(stated, root=os.urandom(32)), coordinator)
    for wrong in (elsewhere, twin):
        with pytest.raises(UsageError) as refused:
            world.take("east", world.cosigned(wrong, "east"))
        assert refused.value.code == "TW3642"
    with pytest.raises(UsageError) as refused:
        world.kept.take(world.identities["east"].public.fingerprint, bytes(70_000))
    assert refused.value.code == "TW3642"
    with pytest.raises(EvidenceError) as forged:
        world.take("east", world.cosigned(world.signs(12, by="south"), "east"))
    assert forged.value.code == "TW3604"
    assert world.take("east") == note.encode()  # what others signed is not handed out
