"""Mails to patients who asked for them, by a real relay: what is in them, when, and how often."""

import json
import re
import subprocess
import sys
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from consent.completions import Completions
from consent.notices import MOST_TRIES, Notices
from consent.pipeline import KIND as COMPLETION
from consent.portal import results
from consent.portal.mail import Relay
from consent.portal.sealed_keys import state_of
from consent.portal.settings import of as settings_of
from consent.withdrawals import Withdrawals
from hospital_node import audit_log, notices
from hospital_node.cli_portal import portal as command
from hospital_node.consents import open_vault
from hospital_node.node import Node as RunningNode
from hospital_node.paths import NodePaths
from tests.integration.hospital_node.test_erasure import known
from tests.simulators.mail_relay import MailRelay
from tests.simulators.one_node import Hospital, World
from twinward.clock import FixedClock, SystemClock
from twinward.errors import ConsentError
from twinward.organisation import Organisation
from twinward.signing import Document

PATIENT, OTHER = "MRN-4711-0815", "MRN-4711-0816"
ADDRESS = "somebody@mail.example"
EVERYTHING = ("study", "stopped", "result", "delegate")


@pytest.fixture
def relay(tmp_path):
    (tmp_path / "relay").mkdir()
    made = MailRelay(tmp_path / "relay")
    made.start()
    yield made
    made.stop()


class Node:
    def __init__(self, hospital, relay):
        self.folder, self.relay = hospital.folder, relay
        for record in (PATIENT, OTHER):
            known(self.folder, hospital.world, record)
        self.store().forget(PATIENT)
        self.store().forget(OTHER)
        (self.folder / "portal.toml").write_text(relay.settings())
        self.clock = FixedClock(float(int(SystemClock().now())))

    def store(self):
        return notices.open_notices(self.folder, Organisation(self.folder).identity())

    def asks(self, record=PATIENT, kinds=EVERYTHING, language="en", address=ADDRESS):
        with closing(self.store()) as store:
            now = int(self.clock.now())
            store.ask(record, address=address, kinds=kinds, language=language, now=now)

    def types(self, code, record=PATIENT):
        with closing(self.store()) as store:
            store.confirm(record, code, now=int(self.clock.now()))

    def of(self, record=PATIENT):
        with closing(self.store()) as store:
            return store.of(record)

    def look(self):
        return notices.look(self.folder, hospital="Clinic", clock=self.clock)

    def joins(self, record=PATIENT, **more):
        """A patient with a confirmed address; the mail with the code is put away."""
        self.asks(record, **more)
        self.look()
        (_, mail, _) = self.relay.taken.pop()
        self.types(re.search(r"\d{8}", mail.get_content())[0], record)

    def used(self, study, record=PATIENT):
        self.clock.at = max(self.clock.at, SystemClock().now())
        with audit_log.opened(self.folder) as audit:
            audit.used([record], study=study, run="5a" * 32, to="coordinator")

    def mails(self):
        return [mail for _, mail, _ in self.relay.taken]


@pytest.fixture
def node(hospital, relay):
    return Node(hospital, relay)


def test_nobody_is_mailed_who_did_not_ask_and_type_the_code(node):
    node.used("heart-risk")
    assert node.look().sent == 0
    node.asks()
    node.used("heart-risk-2")
    assert node.look().sent == 1
    ((to, mail, by_tls),) = node.relay.taken
    assert (to, by_tls, mail["Auto-Submitted"]) == ([ADDRESS], True, "auto-generated")
    code = re.search(r"\d{8}", mail.get_content())[0]
    node.used("heart-risk-3")
    assert node.look().sent == 0
    with pytest.raises(ConsentError) as caught:
        node.types(f"{(int(code) + 1) % 10**8:08d}")
    assert (caught.value.code, node.of().confirmed) == ("TW8172", False)
    time.sleep(1.1)  # the log counts whole seconds, and what is in the same one is told
    node.clock.at = SystemClock().now()
    node.types(code)
    assert node.of().confirmed
    assert node.look().sent == 0, "what was before the wish is not told"


def test_a_code_cannot_be_guessed_nor_people_flooded(node):
    node.asks()
    node.look()
    code = re.search(r"\d{8}", node.mails()[0].get_content())[0]
    for _ in range(MOST_TRIES):
        with pytest.raises(ConsentError):
            node.types("00000000")
    with pytest.raises(ConsentError):
        node.types(code)
    node.asks(address="a@mail.example")
    node.asks(address="b@mail.example")
    with closing(node.store()) as store:
        store.end(PATIENT)  # does not begin the count anew
    with pytest.raises(ConsentError) as caught:
        node.asks()
    assert caught.value.code == "TW8171"


def test_each_kind_is_told_once_and_without_a_word_of_what_it_is(node, tmp_path):
    node.joins()
    node.joins(record=OTHER, address="other@mail.example", kinds=("delegate",), language="ar")
    for new in (1, 0):
        node.used("heart-risk")
        node.used("heart-risk", record=OTHER)
        assert node.look().new == new
    (mail,) = node.mails()
    said = mail.as_string()
    for secret in (PATIENT, "heart", "5a" * 8, "MRN"):
        assert secret not in said
    assert "There is something new for you at Clinic" in mail.get_content()
    assert re.findall(r"https?://\S+", mail.get_content()) == ["https://my-data.clinic.example"]
    node.relay.taken.clear()

    vault, kept = open_vault(node.folder), Completions(NodePaths(node.folder).completions)
    with closing(vault.store), closing(kept.store):
        ((study, _),) = vault.subjects_of(PATIENT)
        now = int(node.clock.now())
        gone = Withdrawals(vault).without_key(study, PATIENT, received_at=now, on_chain_by=now)
        assert node.look().new == 0, "not complete yet"
        word = {"withdrawal": gone.digest.hex(), "revision": 1, "completed_at": now}
        kept.keep(Document(COMPLETION, word).signed_by(Organisation(node.folder).identity()))
    assert node.look().new == 1
    with audit_log.opened(node.folder) as audit:
        audit.spoke("mandate-stop", PATIENT, study)
        audit.spoke("mandate-yes", OTHER, study)
    assert (node.look().new, node.look().new) == (2, 0)
    words = tmp_path / "words.toml"
    words.write_text('en = "We found little."')
    node.clock.at += 5
    results.publish(state_of(node.folder), "heart-risk", words)
    assert (node.look().new, node.look().new) == (1, 0)
    assert [mail["To"] for mail in node.mails()].count(ADDRESS) == 3
    (arabic,) = [mail for mail in node.mails() if mail["To"] == "other@mail.example"]
    assert "هناك جديد" in arabic["Subject"]


def test_a_mail_whose_sender_died_is_sent_again_under_the_same_name(node):
    node.joins()
    node.used("heart-risk")
    node.relay.stop()
    assert (node.look().new, node.look().later) == (1, 0)
    node.relay.start()
    settings = settings_of(node.folder).mail
    relay = Relay(settings, folder=node.folder, hospital="Clinic")
    node.clock.at += 61
    with closing(node.store()) as store:  # as `look` does, up to the relay's yes
        (mail,) = store.due(int(node.clock.now()))
        relay.send(relay.written(mail, now=node.clock.now()))
    assert node.look().sent == 0, "it is somebody's for ten minutes"
    node.clock.at += 601
    assert node.look().sent == 1
    node.clock.at += 601
    assert node.look().sent == 0
    first, again = node.mails()
    assert first["Message-ID"] == again["Message-ID"]


def test_a_sender_that_is_killed_leaves_the_mail_to_the_next_one(node):
    node.joins()
    node.used("heart-risk")
    node.relay.answers_after = 20.0
    command = [sys.executable, "-m", "twinward", "portal", "notify", str(node.folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as sender:
        while not node.relay.taken:
            assert sender.poll() is None
            time.sleep(0.05)
        sender.kill()
    node.relay.stop()
    node.relay.answers_after = 0.0
    node.relay.start()
    node.clock.at = SystemClock().now()
    assert node.look().sent == 0, "it is the dead one's for ten minutes"
    node.clock.at += 601
    assert node.look().sent == 1
    first, again = node.mails()
    assert first["Message-ID"] == again["Message-ID"]


def test_a_relay_that_is_down_is_tried_ever_more_seldom(node):
    node.joins()
    node.used("heart-risk")
    node.relay.stop()
    tried = []
    for minute in range(130):
        if node.look().later:
            tried.append(minute)
        node.clock.at += 60
    assert tried[:3] == [0, 1, 3]
    assert len(tried) <= 8
    node.relay.start()
    node.clock.at += 6 * 3600
    assert node.look().sent == 1


def test_an_address_that_the_relay_refuses_is_said_and_not_tried_again(node):
    node.joins()
    node.used("heart-risk")
    node.relay.refuses = "550 no such user"
    assert node.look().refused == 1
    assert node.of().refused
    node.used("heart-risk-2")
    assert (node.look().sent, node.look().refused) == (0, 0)
    node.relay.refuses = None
    node.joins(address="better@mail.example")
    node.used("heart-risk-3")
    assert node.look().sent == 1


@pytest.mark.parametrize("tls", [True, False], ids=["strange-certificate", "no-tls"])
def test_nothing_is_told_to_a_relay_that_is_not_the_hospitals(node, relay, tmp_path, tls):
    (tmp_path / "thief").mkdir()
    thief = MailRelay(tmp_path / "thief", tls=tls)
    settings = (node.folder / "portal.toml").read_text()
    (node.folder / "portal.toml").write_text(
        settings.replace(f"port = {relay.port}", f"port = {thief.port}")
    )
    thief.start()
    try:
        node.asks()
        assert (node.look().later, thief.taken, relay.taken) == (1, [], [])
    finally:
        thief.stop()


def test_the_file_names_nobody_and_what_ended_is_deleted(node):
    node.joins()
    node.used("heart-risk")
    path = NodePaths(node.folder).notices

    def raw():
        beside = [path, *path.parent.glob(f"{path.name}-*")]
        return b"".join(each.read_bytes() for each in beside)

    node.look()
    for secret in (ADDRESS, PATIENT, "heart-risk"):
        assert secret.encode() not in raw()
    with closing(node.store()) as store:
        assert isinstance(store, Notices)
        store.end(PATIENT)
    assert node.of() is None
    node.used("heart-risk-2")
    assert node.look().sent == 0


@pytest.mark.parametrize(
    "address",
    ["", "x", "a@b", "a b@c.example", "a@c.example, d@e.example", "A <a@c.example>",
     "a@c.example\nBcc: d@e.example", "ä@c.example", f"{'a' * 250}@c.example"],
)  # fmt: skip
def test_what_is_no_single_address_is_refused(node, address):
    with pytest.raises(ConsentError) as caught:
        node.asks(address=address)
    assert (caught.value.code, node.of()) == ("TW8170", None)


def test_the_command_says_what_it_did_and_what_is_missing(node):
    node.asks()
    done = CliRunner().invoke(command, ["notify", str(node.folder), "--once", "--json"])
    assert (done.exit_code, json.loads(done.stdout.splitlines()[-1])["sent"]) == (0, 1)
    (node.folder / "portal.toml").unlink()
    done = CliRunner().invoke(command, ["notify", str(node.folder), "--once", "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "TW8173"
    assert done.exit_code > 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('ca_file = "not-there.pem"', "TW8174"), ('password_file = "not-there"', "TW1014"),
        ("port = 0", "TW1052"), ('sender = "x"', "TW1052"), ('site = "http://x"', "TW1052"),
        ('relay = ""', "TW1052"), ("colour = 1", "TW1052"), ("=", "TW1051"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_named(hospital, line, code):
    said = {
        "relay": 'relay = "localhost"', "sender": 'sender = "a@b.example"',
        "site": 'site = "https://b.example"', line.split()[0]: line,
    }  # fmt: skip
    (hospital.folder / "portal.toml").write_text("\n".join(["[mail]", *said.values()]))
    done = CliRunner().invoke(command, ["notify", str(hospital.folder), "--once", "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == code


def test_a_node_offers_mails_where_there_is_a_relay(tmp_path, relay):
    (tmp_path / "world").mkdir()
    with closing(World(tmp_path / "world")) as world:
        folder = Hospital(world, tmp_path).folder
        (folder / "portal.toml").write_text(relay.settings())
        with closing(RunningNode.open(folder, clock=SystemClock())) as opened:
            assert isinstance(opened.surroundings.notices, Notices)
