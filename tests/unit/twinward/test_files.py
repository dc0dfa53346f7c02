import os

import pytest

from twinward.files import read_given, write_atomic


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model"
    write_atomic(path, b"old")

    def dies(_descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_the_mode_is_the_one_that_was_asked_for(tmp_path):
    path = tmp_path / "token"
    write_atomic(path, b"secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_missing_file_is_named(tmp_path):
    from twinward.errors import UsageError

    with pytest.raises(UsageError) as refused:
        read_given(tmp_path / "absent")
    assert refused.value.code == "TW1070"
    assert "absent" in refused.value.diagnostic.as_text()
