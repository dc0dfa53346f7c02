"""A hospital's log with a founding file, a signed checkpoint and answers from it."""

import hashlib
import json

from ledger import verify
from ledger.log import answer, checkpoint
from ledger.log.entry import Draft, commit
from ledger.log.store import Log
from tests.simulators.finished_run import found
from twinward.signing import Identity

ORGS = ("coordinator", "north", "south", "east")
FILES = ("answer.json", "bodies.txt", "checkpoint.txt", "founding.json", "leaves.txt")


class Logbook:
    def __init__(self, folder, *, org="north"):
        self.identities = {name: Identity.generate() for name in ORGS}
        self.founding = found(self.identities)
        self.genesis = bytes.fromhex(self.founding.chain["genesis_hash"])
        self.org = org
        self.origin = checkpoint.audit_origin(self.genesis, org)
        self.log = Log(folder / f"{org}.sqlite", origin=self.origin)
        self.bodies = {}

    def write(self, *topics, kind="use"):
        body = json.dumps({"entry": self.log.size}).encode()
        salt = hashlib.sha256(b"salt" + body).digest()
        self.bodies[self.log.size] = (salt, body)
        self.log.append(
            [Draft(kind, topics, 1_700_000_000 + self.log.size, commit(body, salt=salt))]
        )

    def signed(self, state=None, *, by=None):
        """A checkpoint of this state, or of now."""
        state = state or self.log.seal()
        identity = self.identities[by or self.org]
        return checkpoint.sign(checkpoint.checkpoint_of(self.origin, state), identity)

    def cosigned(self, note, *orgs):
        for org in orgs:
            name = checkpoint.witness_name(org)
            note = checkpoint.cosign(note, self.identities[org], name=name, time=1_700_009_999)
        return note

    def answer(self, *topics, note=None, shown=None):
        return answer.build(
            self.log,
            checkpoint=note or self.signed(),
            topics=topics or None,
            body=self.bodies.get,
            question={"id": "all"},
            shown={"founding.json": self.founding.document.encode(), **(shown or {})},
        )


def reworked(data, **changes):
    """The archive with records changed: by name (`.` as `_`), each a function of its bytes."""
    records, faults = verify.read_archive(data)
    assert not faults
    for name, change in changes.items():
        record = name.replace("_", ".")
        records[record] = change(records[record])
    return verify.write_archive(records)
