"""A network founded on paper: real keys, requests and signatures, no process."""

import json
from dataclasses import dataclass
from pathlib import Path

from ledger.account import address_of, new_key
from server import founding_ceremony, settings
from server.ca import create
from server.settings import ServerSettings
from twinward.founding import Founding
from twinward.ids import OrgName
from twinward.organisation import Organisation
from twinward.signing import Document

NOW = 1_800_000_000.0
HOSPITALS = ("harbour", "meadow", "station")


@dataclass
class Paper:
    """Folders of a coordinator and hospitals; the ceremony step by step."""

    folder: Path
    hospitals: tuple = HOSPITALS
    now: float = NOW

    def __post_init__(self):
        self.home = self.organisation("coordinator", role="coordinator")
        settings.write(
            self.home.folder / settings.FILE,
            ServerSettings(
                org=OrgName("coordinator"), network="demo",
                network_port=9440, flower_port=9441, ledger_port=9442,
            ),
        )  # fmt: skip
        create(
            key_file=self.home.secrets / "ca.key",
            certificate_file=self.home.tls.ca,
            network="demo",
            now=self.now,
        )
        self.members = {name: self.organisation(name) for name in self.hospitals}

    def organisation(self, name, *, role="hospital"):
        organisation = Organisation(self.folder / name)
        organisation.folder.mkdir()
        key = new_key()
        organisation.create(
            org=OrgName(name), role=role, ledger_key=key, ledger_account=address_of(key)
        )
        return organisation

    def requests(self):
        files = [home.request_file(name) for name, home in self.members.items()]
        return [(path.read_bytes(), str(path)) for path in files]

    def draft(self, requests=None):
        """The draft file, signed by the coordinator."""
        return founding_ceremony.begin(
            self.home.folder, self.requests() if requests is None else requests, now=self.now
        )

    def signed(self, path, *names):
        """A copy of a file signed by these hospitals."""
        document = Document.decode(Path(path).read_bytes(), kind="twinward/founding/v1")
        for name in names:
            document = document.signed_by(self.members[name].identity())
        return document.encode()

    def found(self):
        """The complete founding file."""
        path = self.draft()
        copies = [self.signed(path, name) for name in self.hospitals]
        return Founding.decode(founding_ceremony.complete(self.home.folder, copies).read_bytes())


def changed(data, change):
    """A document as bytes after something was done to its JSON."""
    value = json.loads(data)
    change(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
