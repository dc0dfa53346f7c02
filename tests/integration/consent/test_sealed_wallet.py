"""A wallet under a passphrase: its commands work with it, and a copy signs nothing without it."""

import json
import sqlite3
import time
from contextlib import closing

import pytest
from click.testing import CliRunner
from cryptography.exceptions import InvalidTag

from consent.cli import consent
from consent.letters import write_letters
from consent.patient_keys import Wallet
from consent.portal.sealed_keys import secret_of
from consent.sealed_key import seal
from tests.simulators.consent.desk import RunningDesk
from tests.simulators.consent.world import Hospital
from tests.simulators.portal import opened
from twinward.errors import IdentityError
from twinward.sealed_file import Passphrase

WORDS = "five words ﬁt well here"  # with a ligature, as a keyboard may give it


class Patients:
    """What patients type, in a folder of their own."""

    def __init__(self, folder):
        hospital = Hospital(folder / "hospital", patients=4)
        hospital.clock.at = hospital.ledger.time = time.time()
        self.desk = RunningDesk(hospital, folder)
        self.folder, self.letters = folder / "mine", folder / "letters"
        self.words = folder / "words"
        self.words.touch(mode=0o600)
        self.words.write_text(f"{WORDS}\n")
        write_letters(self.letters, self.desk.letters(2))

    def command(self, name, *words, typed=None):
        done = CliRunner().invoke(
            consent, [name, *words, "--wallet", str(self.folder), "--json"], input=typed
        )
        return done.exit_code, json.loads(done.stdout.splitlines()[-1]), done.stderr

    def grant(self, *words, **more):
        return self.command("grant", "--letters", str(self.letters), "--all", *words, **more)

    def rows(self):
        with closing(sqlite3.connect(self.folder / "wallet.db")) as database:
            return database.execute("select letter, key from entries").fetchall()

    @property
    def with_the_file(self):
        return "--passphrase-file", str(self.words)


@pytest.fixture
def patients(tmp_path):
    found = Patients(tmp_path)
    yield found
    found.desk.close()


def test_a_wallet_made_with_a_passphrase_signs_with_it_only(patients):
    status, said, talk = patients.grant(*patients.with_the_file)
    assert (status, said["granted"]) == (0, 2)
    assert "unsealed" not in talk
    assert all(len(key) > 32 for _, key in patients.rows())
    assert patients.command("show")[1]["letters"][0]["answer"] == "granted"  # needs no key
    status, said, _ = patients.command("withdraw", "--all", typed="another passphrase\n")
    assert (status, said["error"]["code"]) == (4, "TW3183")
    status, said, _ = patients.command("withdraw", "--all", typed="short\n")
    assert (status, said["error"]["code"]) == (2, "TW7405")
    status, said, _ = patients.command("withdraw", "--all", typed="five words fit well here\n")
    assert (status, said["withdrawn"]) == (0, 2)


def test_another_program_opens_a_sealed_key_as_it_opens_the_pages(patients):
    patients.grant(*patients.with_the_file)
    with closing(Wallet.open(patients.folder)) as wallet:
        (one, _) = wallet.entries()
        sealed = next(json.loads(key) for letter, key in patients.rows()
                      if json.loads(letter) == one.letter.to_json())  # fmt: skip
        secret = secret_of(one.letter.code, one.letter.study)
        key = opened(sealed, passphrase="five words fit well here", secret=secret)
        wallet.seal.open(Passphrase(WORDS.encode()))
        assert wallet._key(one.reference) == key
    with pytest.raises(InvalidTag):
        opened(sealed, passphrase="five words fit well here", secret=bytes(32))


def test_a_wallet_in_the_clear_says_so_once_and_is_sealed_by_a_command(patients):
    status, _, talk = patients.grant()
    assert status == 0
    assert talk.count("unsealed") == 1
    assert "unsealed" not in patients.grant()[2]
    keys = [key for _, key in patients.rows()]
    assert patients.grant(*patients.with_the_file)[1]["error"]["code"] == "TW3184"
    status, said, _ = patients.command("seal", typed=f"{WORDS}\n")
    assert (status, said["keys"]) == (0, 2)
    files = b"".join(path.read_bytes() for path in patients.folder.iterdir())
    assert not any(key in files for key in keys)
    assert patients.command("seal", typed=f"{WORDS}\n")[1]["error"]["code"] == "TW3185"
    status, said, _ = patients.command("withdraw", "--all", *patients.with_the_file)
    assert (status, said["withdrawn"]) == (0, 2)


def test_a_seal_that_dies_leaves_every_key_as_it_was(patients, monkeypatch):
    patients.grant()
    before, done = patients.rows(), []

    def dies_at_the_second(*given, **more):
        done.append(given)
        if len(done) == 3:  # the probe is the first
            raise KeyboardInterrupt
        return seal(*given, **more)

    with closing(Wallet.open(patients.folder)) as wallet, monkeypatch.context() as patch:
        patch.setattr("consent.sealed_key.seal", dies_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            wallet.seal.put_on(Passphrase(WORDS.encode()))
        assert not wallet.seal.is_there
    assert patients.rows() == before
    assert patients.command("withdraw", "--all")[1]["withdrawn"] == 2


def test_a_locked_wallet_and_one_whose_seal_asks_too_much_sign_nothing(patients):
    patients.grant(*patients.with_the_file)
    with closing(Wallet.open(patients.folder)) as wallet:
        with pytest.raises(IdentityError, match="sealed under a passphrase"):
            wallet.sign_withdrawals(wallet.entries(), at=1.0)
        ((probe,),) = wallet._store.rows("select probe from seal")
        greedy = json.loads(probe)
        greedy["kdf"]["m"] = 1 << 30
        with wallet._store.transaction() as database:
            database.execute("update seal set probe = ?", (json.dumps(greedy).encode(),))
    status, said, _ = patients.command("withdraw", "--all", *patients.with_the_file)
    assert (status, said["error"]["code"]) == (4, "TW3183")


def test_a_wallet_of_an_older_form_is_taken_over_with_its_keys(patients):
    patients.grant()
    before = patients.rows()
    with closing(sqlite3.connect(patients.folder / "wallet.db")) as database:
        database.executescript("drop table seal; pragma user_version = 1;")
    assert patients.command("seal", typed=f"{WORDS}\n")[1]["keys"] == len(before)
    status, said, _ = patients.command("withdraw", "--all", *patients.with_the_file)
    assert (status, said["withdrawn"]) == (0, 2)
