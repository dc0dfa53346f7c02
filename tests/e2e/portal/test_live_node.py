"""A patient at a node that is up: who answers for them, and mails that tell nothing."""

import re
import time
from datetime import UTC, datetime

import pytest

from consent.portal.codes import spelled
from consent.record import DAY
from tests.simulators.mail_relay import MailRelay
from tests.simulators.network import eventually
from tests.simulators.portal import browser, patients_site, sent

pytestmark = pytest.mark.slow

ONE = "/studies/0"
ADDRESS = "p@mail.example"


@pytest.fixture
def mailing(network, tmp_path):
    """A hospital that sends mails by a relay, for as long as the test lasts."""
    name = network.hospitals[2]
    relay, settings = MailRelay(tmp_path), network.folder / name / "portal.toml"
    relay.start()
    settings.write_text(relay.settings())
    network.stop(name)
    network.up(name)
    yield name, relay
    relay.stop()
    settings.unlink()
    network.stop(name)  # whoever takes the network next finds it whole, and without mails


def test_a_delegate_stops_for_a_patient_who_is_mailed_that_something_is_new(network, mailing):
    name, relay = mailing
    reference = network.granted(name)[-1]
    with network.wallet() as wallet:
        letter = wallet.entry(reference).letter

    def mails():
        """What the relay was given by one look at what is new."""
        before = len(relay.taken)
        done = network.stage.command("portal", "notify", name, "--once")
        assert (done["sent"], done["later"]) == (len(relay.taken) - before, 0)
        return [made for _, made, _ in relay.taken[before:]]

    with (
        patients_site(network, name) as patient,
        browser(network, name, patient.base_url) as friend,
    ):
        sent(patient, "/sign-in", on="/sign-in", code=spelled(letter.code))
        page = f"{ONE}/notices"
        sent(patient, page, on=page, address=ADDRESS, delegate="1")
        (asked,) = mails()
        code = re.search(r"\d{8}", asked.get_content())[0]
        assert "We mail you at:" in sent(patient, f"{page}/code", on=page, code=code).text
        assert mails() == []

        page = f"{ONE}/delegates"
        until = datetime.fromtimestamp(time.time() + 30 * DAY, tz=UTC).date().isoformat()
        named = sent(patient, page, on=page, holder="Aunt Mia", says="all", until=until).text
        theirs = re.search(r"<code>([0-9A-Z-]{30,})</code>", named)[1]
        sent(friend, "/sign-in", on="/sign-in", code=theirs)
        assert friend.get(f"{ONE}/notices").status_code == 404
        before = network.cohort(name)
        sent(friend, f"{ONE}/stop", on=f"{ONE}/stop")
        assert network.cohort(name) == before - 1
        assert "Read and decide" in friend.get("/home").text

        (told,) = mails()
        assert told["To"] == ADDRESS
        words = f"{told['Subject']} {told.get_content()}"
        assert "something new" in words
        for secret in ("Mia", letter.study.name, letter.study.title, spelled(letter.code), theirs):
            assert secret not in words
        assert mails() == []

        number = re.search(r'name="number" value="(\d+)"', patient.get(page).text)[1]
        assert "It ended on" in sent(patient, f"{page}/end", on=page, number=number).text
        refused = friend.get("/home")
        assert (refused.status_code, "TW8160" in refused.text) == (403, True)
        lines = patient.get(f"{ONE}/uses").text
        assert "Someone who answers for you stopped." in lines
        assert "You ended that someone may answer for you." in lines
        page = f"{ONE}/notices"
        assert "We send you no mails." in sent(patient, f"{page}/end", on=page).text
    eventually(lambda: network.waiting(name) == 0)
    network.withdraw(reference)  # the wallet of the tests that follow is to know it too
    network.wait_for_consents()
