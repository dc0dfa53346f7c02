"""Who is a hospital is decided by the founding file and the ledger together, never by one alone."""

import dataclasses
import json
import shutil
from contextlib import ExitStack

import pytest

from ledger.account import new_key
from ledger.chain import Chain, LedgerMember
from server import daemon as coordinator_daemon
from server.ledger_door import own_ledger
from server.settings import FILE, ServerSettings
from tests.simulators.network import COORDINATOR, twinward
from twinward.organisation import Organisation
from twinward.settings import load


@pytest.mark.slow
@pytest.mark.parametrize("differs", ["account", "keys", "absent"])
def test_a_node_that_the_ledger_knows_otherwise_does_not_start(
    founded, tmp_path, monkeypatch, differs
):
    """A coordinator puts other members on the ledger than everyone signed for."""
    victim, other = founded.hospitals[:2]
    founding = founded.founding()
    theirs = bytes.fromhex(founding.member(victim).fingerprint)
    honest = Chain.deploy

    def lying(self, *, founding_digest, members):
        changed = {
            "account": lambda m: dataclasses.replace(m, account="0x" + "ab" * 20),
            "keys": lambda m: dataclasses.replace(m, keys=b"\7" * 32),
            "absent": lambda m: dataclasses.replace(m, id=b"\7" * 32),
        }[differs]
        members = [changed(m) if m.id == theirs else m for m in members]
        assert all(isinstance(member, LedgerMember) for member in members)
        return honest(self, founding_digest=founding_digest, members=members)

    settings = load(ServerSettings, founded.folder / COORDINATOR / FILE)
    monkeypatch.setattr(Chain, "deploy", lying)
    with ExitStack() as stack:
        organisation = Organisation(founded.folder / COORDINATOR)
        # The same door, another chain each time: the one in the folder has the honest contracts.
        shutil.rmtree(organisation.folder / "state" / "ledger", ignore_errors=True)
        ledger = own_ledger(founding, organisation, port=settings.ledger_port)
        stack.callback(ledger.stop)
        ledger.start()
        coordinator_daemon.found_ledger(founding, organisation).close()
        status, answer = founded.up_and_refused(victim)
        assert (status, "TW2014" in answer) == (4, True), answer
        assert victim in answer
        if differs == "account":  # the others find the ledger as they signed it
            from hospital_node.node import connect_ledger, require_on_ledger

            chain = connect_ledger(founding, new_key(), folder=founded.folder / other)
            stack.callback(chain.close)
            require_on_ledger(chain, founding, [other])


def tampered(founded, tmp_path, change):
    """The complete founding file with something done to it."""
    document = json.loads((founded.folder / COORDINATOR / "founding.json").read_bytes())
    change(document)
    path = tmp_path / "founding.json"
    path.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True))
    return path


def drop_signature(document):
    del document["signatures"][0]


def forge_signature(document):
    first = document["signatures"][0]["signature"]
    document["signatures"][0]["signature"] = ("0" if first[0] != "0" else "1") + first[1:]


def swap_signatures(document):
    one, two = document["signatures"][:2]
    one["signature"], two["signature"] = two["signature"], one["signature"]


def move_endpoint(document):
    document["payload"]["endpoints"]["network"] = "203.0.113.9:443"


def other_authority(document):
    certificate = document["payload"]["members"][0]["certificate"]
    document["payload"]["ca_certificate"] = certificate


@pytest.mark.parametrize(
    "change",
    [drop_signature, forge_signature, swap_signatures, move_endpoint, other_authority],
    ids=lambda change: change.__name__,
)
def test_a_founding_file_that_not_everyone_signed_as_it_is_is_refused(founded, tmp_path, change):
    path = tampered(founded, tmp_path, change)
    kept = (founded.folder / founded.hospitals[0] / "founding.json").read_bytes()
    status, answer = twinward(founded.folder, "node", "accept", founded.hospitals[0], str(path))
    assert status == 4
    assert answer["error"]["code"] in {"TW2002", "TW2004"}
    assert (founded.folder / founded.hospitals[0] / "founding.json").read_bytes() == kept


def test_the_coordinator_alone_cannot_complete_the_founding_file(founded, tmp_path):
    copies = [f"{name}/founding.{name}.json" for name in founded.hospitals]
    complete = (founded.folder / COORDINATOR / "founding.json").read_bytes()
    status, answer = twinward(
        founded.folder, "server", "found", COORDINATOR,
        *(f"--signed={copy}" for copy in copies[1:]),
    )  # fmt: skip
    assert (status, answer["error"]["code"]) == (4, "TW2004")
    assert (founded.folder / COORDINATOR / "founding.json").read_bytes() == complete


def test_a_hospital_signs_no_file_that_names_it_with_keys_it_did_not_make(founded, tmp_path):
    """Somebody joins in the hospital's name: made by a second `init`, found by a real ceremony."""
    name = founded.hospitals[0]
    impostor = tmp_path / "impostor"
    data = next((founded.folder / "data").iterdir())
    twinward(tmp_path, "node", "init", str(impostor), "--name", name, "--data", str(data))
    twinward(tmp_path, "server", "init", "other", "--network", "other", "--base-port", "9440")
    requests = [f"{founded.folder}/{other}/{other}.request.json" for other in founded.hospitals[1:]]
    status, found = twinward(
        tmp_path, "server", "found", "other", f"{impostor}/{name}.request.json", *requests
    )
    assert status == 0
    status, answer = twinward(
        tmp_path, "node", "sign", str(founded.folder / name), found["founding"]
    )
    assert (status, answer["error"]["code"]) == (4, "TW2013")
