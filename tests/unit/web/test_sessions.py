"""Sessions end when they should, and a copy of their file signs nobody in."""

import os

import pytest

from twinward.clock import FixedClock
from twinward.web import passphrase
from twinward.web.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions


@pytest.fixture
def clock():
    return FixedClock(1_800_000_000.0)


@pytest.fixture
def sessions(tmp_path, clock):
    found = Sessions(tmp_path / "sessions.sqlite", clock=clock)
    yield found
    found.close()


def test_a_session_is_found_by_its_secret_alone(sessions):
    secret = sessions.open("ada")
    assert sessions.find(secret).subject == "ada"
    assert sessions.find(secret[:-1]) is None
    assert sessions.find("") is None


def test_it_ends_after_half_an_hour_without_use(sessions, clock):
    secret = sessions.open("ada")
    clock.at += IDLE_SECONDS - 1
    assert sessions.find(secret)
    clock.at += IDLE_SECONDS - 1
    assert sessions.find(secret)
    clock.at += IDLE_SECONDS + 1
    assert sessions.find(secret) is None
    clock.at -= IDLE_SECONDS
    assert sessions.find(secret) is None


def test_it_ends_after_twelve_hours_of_use(sessions, clock):
    secret, ended = sessions.open("ada"), clock.at + LONGEST_SECONDS
    while clock.at < ended:
        assert sessions.find(secret)
        clock.at += IDLE_SECONDS
    clock.at = ended + 1
    assert sessions.find(secret) is None


def test_a_clock_that_went_back_keeps_nobody_signed_in(sessions, clock):
    secret = sessions.open("ada")
    clock.at -= 10
    assert sessions.find(secret) is None


def test_signing_out_here_and_everywhere(sessions):
    first, second, other = sessions.open("ada"), sessions.open("ada"), sessions.open("bob")
    sessions.end(first)
    assert sessions.find(first) is None
    assert sessions.find(second)
    sessions.end_all("ada")
    assert sessions.find(second) is None
    assert sessions.find(other)


def test_they_survive_a_restart_and_the_file_holds_no_secret(tmp_path, clock, sessions):
    secret = sessions.open("ada")
    again = Sessions(tmp_path / "sessions.sqlite", clock=clock)
    assert again.find(secret)
    again.close()
    files = list(tmp_path.iterdir())
    assert not any(secret.encode() in path.read_bytes() for path in files)
    assert os.stat(tmp_path / "sessions.sqlite").st_mode & 0o077 == 0


def test_a_passphrase_opens_only_its_own_seal():
    stored = passphrase.sealed("correct horse battery")
    assert stored.startswith("$argon2id$")
    assert "horse" not in stored
    assert passphrase.opens("correct horse battery", stored)
    assert not passphrase.opens("correct horse batterz", stored)
    assert not passphrase.opens("correct horse battery", None)
    assert passphrase.sealed("correct horse battery") != stored
