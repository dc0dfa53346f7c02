from contextlib import closing
from dataclasses import replace

import pytest

from consent import front_door
from consent.letters import Letter, read_letters, write_letters
from consent.patient_keys import Wallet
from tests.simulators.consent.world import Hospital
from twinward import canonical
from twinward.clock import FixedClock
from twinward.errors import IdentityError, UsageError


@pytest.fixture
def letters(tmp_path):
    hospital = Hospital(tmp_path)
    return [hospital.letter(number) for number in range(3)]


def test_letters_come_back_as_they_were_written(tmp_path, letters):
    path = tmp_path / "letters"
    write_letters(path, letters)
    assert read_letters(path) == letters
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_reference_of_a_letter_does_not_give_its_code_away(letters):
    assert len({letter.reference for letter in letters}) == 3
    assert all(letter.reference not in letter.code.hex() for letter in letters)


def test_letters_that_others_can_read_are_refused(tmp_path, letters):
    path = tmp_path / "letters"
    write_letters(path, letters)
    path.chmod(0o644)
    with pytest.raises(IdentityError) as error:
        read_letters(path)
    assert error.value.code == "TW2005"


@pytest.mark.parametrize(
    "change",
    [
        {"code": "00"},
        {"code": 5},
        {"identity": "zz"},
        {"hospital": None},
        {"study": {}},
        {"domain": {"chain_id": 1, "contract": "11" * 20, "genesis": "77" * 32}},
        {"domain": {"chain_id": 1, "contract": "11", "genesis": "77" * 32}},
    ],
)
def test_a_malformed_letter_is_refused_with_its_line(tmp_path, letters, change):
    path = tmp_path / "letters"
    broken = canonical.encode(letters[1].to_json() | change)
    write_letters(path, letters[:1])
    path.write_bytes(path.read_bytes() + broken + b"\n")
    with pytest.raises(UsageError) as error:
        read_letters(path)
    assert error.value.code == "TW3008"
    assert error.value.diagnostic.at.endswith("letters:2")


def test_a_letter_of_another_network_than_its_study_is_refused(letters):
    value = letters[0].to_json()
    value["study"]["network"] = "99" * 32
    with pytest.raises(UsageError):
        Letter.from_json(value)


def test_a_letter_names_the_front_door_and_one_of_before_is_read_as_it_was(tmp_path, letters):
    path = tmp_path / "letters"
    newer, older = replace(letters[0], door="hub.example.org:443"), letters[1]
    write_letters(path, [newer, older])
    assert [one.door for one in read_letters(path)] == ["hub.example.org:443", None]
    assert "door" not in older.to_json(), "to the byte what it was before letters named a door"


def test_without_a_door_in_the_letter_nothing_is_signed_and_the_way_out_is_said(tmp_path, letters):
    with closing(Wallet.open(tmp_path / "wallet")) as wallet:
        wallet.keep(letters)
        (outcome,) = front_door.withdraw(wallet, [letters[0].reference], clock=FixedClock(0.0))
    assert outcome.error.code == "TW7670"
    assert "--through" in outcome.error.diagnostic.help
