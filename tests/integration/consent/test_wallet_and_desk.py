"""Patients' wallets and a hospital's desk as they run: gRPC over TLS on loopback."""

import ssl
from dataclasses import replace

import grpc
import pytest

from consent import wallet as answering
from consent.desk import DeskClient
from consent.letters import write_letters
from consent.patient_keys import Answer, Choice, Wallet
from consent.receipts import WITHDRAWAL_KIND, read_receipt
from consent.record import DAY
from consent.study import OptionalCategory
from consent.terms import terms
from tests.simulators.consent.desk import RunningDesk, make_tls
from tests.simulators.consent.world import HOSPITAL, IDENTITY, NOW, STUDY, Hospital
from twinward import canonical
from twinward.signing import Identity

CHOICE = Choice(purposes=(), until=NOW + 400 * DAY)


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path / "hospital", patients=40)


@pytest.fixture
def desk(hospital, tmp_path):
    running = RunningDesk(hospital, tmp_path)
    yield running
    running.close()


@pytest.fixture
def wallet(tmp_path):
    found = Wallet.open(tmp_path / "patients")
    yield found
    found.close()


def say_yes(wallet, letters, hospital, *, choice=CHOICE, **more):
    return answering.grant(wallet, letters, choice=choice, clock=hospital.clock, **more)


def test_patients_grant_some_refuse_and_one_withdraws(hospital, desk, wallet):
    letters = desk.letters(40)
    seen = []
    outcomes = say_yes(
        wallet,
        letters,
        hospital,
        says_yes=lambda number, _letter: number % 10 != 3,
        progress=seen.append,
    )
    assert len(seen) == len(outcomes) == 40
    assert not any(outcome.error for outcome in outcomes)
    assert sum(outcome.answer is Answer.GRANTED for outcome in outcomes) == 36
    hospital.push()
    cohort = hospital.cohort()
    assert cohort.mask().tolist() == [number % 10 != 3 for number in range(40)]

    (gone,) = answering.withdraw(wallet, [letters[0].reference], clock=hospital.clock)
    assert gone.receipt["on_chain_by"] == NOW + DAY
    assert not cohort.mask()[0]
    ((entry, shown),) = answering.show(wallet, [letters[0].reference])
    assert (entry.answer, shown["rule"]) == (Answer.WITHDRAWN, "withdrawn-here")


def test_every_patient_and_study_has_a_key_of_its_own(hospital, desk, wallet):
    letters = desk.letters(5)
    say_yes(wallet, letters, hospital)
    subjects = {entry.subject for entry in wallet.entries()}
    assert len(subjects) == 5
    keys = [wallet._key(letter.reference) for letter in letters]
    database = hospital.path.read_bytes() + hospital.path.with_name("consent.db-wal").read_bytes()
    assert not any(key in database for key in keys)


def test_answering_again_changes_nothing(hospital, desk, wallet):
    letters = desk.letters(3)
    first = say_yes(wallet, letters, hospital, says_yes=lambda n, _: n > 0)
    again = say_yes(wallet, letters, hospital)
    assert sorted(o.answer for o in first) == sorted(o.answer for o in again)
    assert hospital.vault.last_change() == 2


def test_a_patient_changes_their_mind_twice(hospital, desk, wallet):
    letters = desk.letters(1)
    name = letters[0].reference
    for _ in range(3):
        (outcome,) = say_yes(wallet, letters, hospital)
        assert outcome.error is None
        hospital.push()
        assert hospital.cohort().mask()[0]
        answering.withdraw(wallet, [name], clock=hospital.clock)
        hospital.push()
        assert not hospital.cohort().mask()[0]


def test_a_grant_that_never_reached_the_ledger_can_be_given_again(hospital, desk, wallet):
    letters = desk.letters(1)
    say_yes(wallet, letters, hospital)
    hospital.clock.at += 8 * DAY
    hospital.ledger.time = hospital.clock.at
    assert [reason for _, reason in hospital.relay.push_grants().problems] == ["TooLate"]
    (outcome,) = say_yes(wallet, letters, hospital, again=True)
    assert outcome.error is None
    hospital.push()
    assert hospital.cohort().mask()[0]


def test_a_desk_that_is_down_is_told_apart_and_the_same_bytes_are_sent_later(
    hospital, desk, wallet
):
    letters = desk.letters(2)
    desk.stop()
    outcomes = say_yes(wallet, letters, hospital)
    assert [outcome.error.code for outcome in outcomes] == ["TW3001", "TW3001"]
    assert outcomes[0].error.diagnostic.exit_status == 5
    desk.run(desk._start(desk.port))
    assert not any(outcome.error for outcome in say_yes(wallet, letters, hospital))
    hospital.push()
    assert hospital.cohort().mask()[:2].all()


def test_a_refusal_travels_with_its_code_and_leaves_the_wallet_as_it_was(hospital, desk, wallet):
    (letter,) = desk.letters(1)
    wrong = replace(letter, code=bytes(16))
    (outcome,) = say_yes(wallet, [wrong], hospital)
    assert outcome.error.code == "TW3010"
    assert outcome.error.diagnostic.exit_status == 6
    entry = wallet.entry(wrong.reference)
    assert (entry.answer, entry.nonce) == (Answer.NONE, 0)
    hospital.clock.at = float(STUDY.closes)
    (outcome,) = say_yes(wallet, [letter], hospital)
    assert outcome.error.code == "TW3011"


def test_a_desk_with_a_certificate_of_another_authority_is_not_talked_to(
    hospital, desk, wallet, tmp_path
):
    (letter,) = desk.letters(1)
    other = make_tls(tmp_path, "stranger")
    assert ssl.PEM_cert_to_DER_cert(other.ca.read_text()) != ssl.PEM_cert_to_DER_cert(letter.ca)
    (outcome,) = say_yes(wallet, [replace(letter, ca=other.ca.read_text())], hospital)
    assert outcome.error.code == "TW3001"
    assert hospital.vault.last_change() == 0


def test_a_receipt_of_another_identity_is_not_accepted(hospital, desk, wallet):
    (letter,) = desk.letters(1)
    impostor = replace(letter, identity=Identity.generate().public)
    assert impostor.identity != IDENTITY.public
    (outcome,) = say_yes(wallet, [impostor], hospital)
    assert outcome.error.code == "TW3030"
    assert wallet.entry(letter.reference).receipt is None


def test_terms_of_another_study_than_the_letters_are_not_signed(hospital, desk, wallet):
    (letter,) = desk.letters(1)
    shown = []

    class Swapped(DeskClient):
        def terms(self, study):
            said = super().terms(study)
            return said | {"study": said["study"] | {"purpose": "general-research"}}

    (outcome,) = say_yes(
        wallet,
        [letter],
        hospital,
        connect=Swapped.of,
        show_terms=lambda _letter, terms: shown.append(terms),
    )
    assert outcome.error.code == "TW3033"
    assert shown == []
    assert wallet.entry(letter.reference).subject is None


def test_an_oversized_or_broken_request_does_not_disturb_the_desk(hospital, desk, wallet):
    (letter,) = desk.letters(1)
    with DeskClient.of(letter) as client:
        with pytest.raises(grpc.RpcError):
            client._stub.Grant(grpc_blob(b"x" * 100_000), timeout=5)
        with pytest.raises(grpc.RpcError) as error:
            client._stub.Grant(grpc_blob(b"\x00broken"), timeout=5)
    assert '"TW3019"' in error.value.details()
    (outcome,) = say_yes(wallet, [letter], hospital)
    assert outcome.error is None


def grpc_blob(data):
    from twinward.rpc.messages_pb2 import Blob

    return Blob(data=data)


def test_the_commands_answer_letters_from_a_file(hospital, desk, tmp_path):
    import json
    import time

    from click.testing import CliRunner

    from consent.cli import consent

    hospital.clock.at = hospital.ledger.time = time.time()
    letters = desk.letters(6)
    path, folder = tmp_path / "letters", tmp_path / "mine"
    write_letters(path, letters)
    run = CliRunner()

    def command(*words, status=0):
        result = run.invoke(consent, [*words, "--wallet", str(folder), "--json"])
        assert result.exit_code == status, result.output
        return json.loads(result.stdout.splitlines()[-1])

    said = command("grant", "--letters", str(path), "--all", "--refuse-every", "3")
    assert (said["granted"], said["refused"], said["failed"]) == (4, 2, 0)
    hospital.push()
    shown = command("show")
    assert (
        sorted(entry["answer"] for entry in shown["letters"]) == ["granted"] * 4 + ["refused"] * 2
    )
    name = next(e["letter"] for e in shown["letters"] if e["answer"] == "granted")
    gone = command("withdraw", name)
    assert gone["letters"][0]["receipt"]["study"] == STUDY.id32.hex()
    assert sum(hospital.cohort().mask()) == 3
    assert command("withdraw", "0" * 16, status=2)["error"]["code"] == "TW3031"
    out = tmp_path / "receipt.json"
    assert command("receipt", name, "--out", str(out))["receipt"] == str(out)
    signed = read_receipt(out.read_bytes(), kind=WITHDRAWAL_KIND, hospital=IDENTITY.public)
    assert signed.payload == gone["letters"][0]["receipt"]
    never = next(e["letter"] for e in shown["letters"] if e["answer"] == "refused")
    assert command("receipt", never, "--out", str(out), status=2)["error"]["code"] == "TW3182"
    assert canonical.encode(gone)


LEFT_OUT = "blood pressure"
ASKS = replace(STUDY, optional=(OptionalCategory(LEFT_OUT, ("trestbps",)),))


@pytest.fixture
def asking(tmp_path):
    """A hospital whose study lets patients leave something out, and its desk."""
    hospital = Hospital(tmp_path / "hospital", study=ASKS)
    running = RunningDesk(hospital, tmp_path)
    yield hospital, running
    running.close()


def shares(hospital):
    return hospital.cohort().permitted()[1].tolist()


def test_patients_leave_something_out_and_take_it_back_with_the_same_letter(asking, wallet):
    hospital, desk = asking
    letters = desk.letters(2)
    less, whole = (replace(CHOICE, without=names) for names in ((LEFT_OUT,), ()))
    say_yes(wallet, letters[:1], hospital)
    hospital.push()
    assert shares(hospital) == [1, 0, 0, 0]
    for choice, share, told in (
        (less, 2, [LEFT_OUT]),
        (CHOICE, 2, [LEFT_OUT]),  # who renews a yes and names nothing does not widen it
        (whole, 1, []),
        (CHOICE, 1, []),
    ):
        say_yes(wallet, letters[:1], hospital, again=True, choice=choice)
        assert wallet.entry(letters[0].reference).without == tuple(told)
        ((_, shown),) = answering.show(wallet, [letters[0].reference])
        assert shown["grant"]["without"] == told
        hospital.push()
        assert shares(hospital) == [share, 0, 0, 0]
    answering.withdraw(wallet, [letters[0].reference], clock=hospital.clock)
    assert shares(hospital) == [0, 0, 0, 0]


def test_a_choice_that_leaves_out_more_is_never_answered_with_an_older_yes(asking, wallet):
    """Neither one that is kept, nor one that waits to be sent: the patient would not know."""
    hospital, desk = asking
    here, waiting = desk.letters(2)
    less = replace(CHOICE, without=(LEFT_OUT,))
    say_yes(wallet, [here], hospital)
    hospital.push()
    (kept,) = say_yes(wallet, [here], hospital, choice=less)
    assert (kept.error.code, kept.answer) == ("TW3043", Answer.GRANTED)
    wallet.keep([waiting])  # and this process died after it signed
    shown = terms(ASKS, hospital=HOSPITAL)
    wallet.sign_grants([wallet.entry(waiting.reference)], shown, choice=CHOICE, at=NOW)
    for again in (False, True):
        (unsent,) = say_yes(wallet, [waiting], hospital, choice=less, again=again)
        assert unsent.error.code == "TW3043"
    hospital.push()
    assert shares(hospital) == [1, 0, 0, 0]
    for choice, share in ((CHOICE, 1), (less, 2)):
        (given,) = say_yes(wallet, [waiting], hospital, choice=choice, again=True)
        assert given.error is None
        hospital.push()
        assert shares(hospital) == [1, share, 0, 0]


def test_what_a_study_needs_cannot_be_left_out_and_then_nothing_is_signed(asking, tmp_path):
    import json
    import time

    from click.testing import CliRunner

    from consent.cli import consent

    hospital, desk = asking
    hospital.clock.at = hospital.ledger.time = time.time()
    path, folder = tmp_path / "letters", tmp_path / "mine"
    write_letters(path, desk.letters(1))

    def command(*words, status=0, **more):
        result = CliRunner().invoke(consent, [*words, "--wallet", str(folder)], **more)
        assert result.exit_code == status, result.output
        return result

    grant = ("grant", "--letters", str(path))
    for wrong in ("age and sex", "genes", ""):
        said = command(*grant, "--all", "--without", wrong, "--json", status=2)
        assert json.loads(said.stdout)["error"]["code"] == "TW3042"
    assert json.loads(command("show", "--offline", "--json").stdout)["letters"] == []

    asked = command(*grant, "--without", LEFT_OUT, input="y\n")
    assert "blood pressure (you may leave this out)" in asked.stderr
    assert f"You leave out: {LEFT_OUT}." in asked.stderr
    hospital.push()
    assert shares(hospital) == [2, 0, 0, 0]
    (letter,) = json.loads(command("show", "--json").stdout)["letters"]
    assert letter["without"] == letter["record"]["grant"]["without"] == [LEFT_OUT]
    assert letter["record"]["rule"] == "granted-in-part"
    assert LEFT_OUT in command("show").stdout
    for words, share in (((), 2), (("--everything",), 1)):
        command(*grant, "--all", "--again", *words)
        hospital.push()
        assert shares(hospital) == [share, 0, 0, 0]
