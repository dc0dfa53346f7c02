"""Public data is fetched from whoever serves it, and kept only if every byte is right."""

import hashlib
import http.server
import os
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from hospital_node.data.fetch import SourceUnreachable, fetch
from hospital_node.data.public_sets import SETS, PublicSet
from twinward.errors import DataError, UsageError

FOLDER = os.environ.get("TWINWARD_DATA_DIR")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; one path leads elsewhere."""

    def do_GET(self):
        if self.path == "/away/a.data":
            self.send_response(302)
            self.send_header("Location", "/a.data")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def served(folder):
    """Serve a folder on loopback; gives the address."""
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def small(**files):
    return PublicSet("t", "l", "s", {n: hashlib.sha256(d).hexdigest() for n, d in files.items()})


A = {"a.data": b"63,1\n"}


def test_right_files_are_kept_and_not_fetched_again(tmp_path):
    (tmp_path / "a.data").write_bytes(A["a.data"])
    with served(tmp_path) as address:
        (first,) = fetch(small(**A), address=address, out=tmp_path / "out")
        assert first.path.read_bytes() == A["a.data"]
        assert not first.was_there
    (again,) = fetch(small(**A), address=address, out=tmp_path / "out")  # nobody serves it now
    assert again.was_there


def test_another_file_under_the_name_is_not_kept(tmp_path):
    (tmp_path / "a.data").write_bytes(b"63,0\n")
    with served(tmp_path) as address, pytest.raises(DataError) as refused:
        fetch(small(**A), address=address, out=tmp_path / "out")
    assert refused.value.code == "TW7242"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("place", ["/nowhere", "/away"])
def test_no_file_there_and_redirects_are_no_answer(tmp_path, place):
    (tmp_path / "a.data").write_bytes(A["a.data"])
    with served(tmp_path) as address, pytest.raises(SourceUnreachable) as refused:
        fetch(small(**A), address=address + place, out=tmp_path / "out")
    assert refused.value.code == "TW7241"


@pytest.mark.parametrize(
    "address", ["http://example.org", "ftp://127.0.0.1", "https://me:secret@example.org", "x", ""]
)
def test_other_ways_than_https_are_refused(tmp_path, address):
    with pytest.raises(UsageError) as refused:
        fetch(small(**A), address=address, out=tmp_path / "out")
    assert refused.value.code == "TW7240"
    assert "secret" not in refused.value.diagnostic.as_text()


@pytest.mark.skipif(
    FOLDER is None or not Path(FOLDER, "heart_disease").is_dir(),
    reason="TWINWARD_DATA_DIR has no heart-disease files",
)
def test_the_pinned_hashes_are_those_of_the_archive(tmp_path):
    with served(Path(FOLDER, "heart_disease")) as address:
        assert len(fetch(SETS["heart"], address=address, out=tmp_path)) == 4
