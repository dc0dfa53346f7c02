"""The vendored cryptography is what the committed build makes of the pinned packages."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from consent.portal import site

HERE = Path(site.__file__).parent
BUILT = HERE / "static" / "noble-2.4.0.min.js"


def test_the_packages_are_pinned_with_their_hashes():
    lock = json.loads((HERE / "device" / "package-lock.json").read_text())["packages"]
    for name in ("@noble/curves", "@noble/hashes", "esbuild"):
        one = lock[f"node_modules/{name}"]
        assert one["integrity"].startswith("sha512-"), name
        assert lock[""]["devDependencies"][name] == one["version"]  # exactly, no range
    assert {BUILT.name: hashlib.sha256(BUILT.read_bytes()).hexdigest()} == site.VENDORED


def test_the_build_gives_the_same_bytes(tmp_path):
    modules = HERE / "device" / "node_modules"
    if shutil.which("npm") is None or not modules.is_dir():
        pytest.skip("the packages are not installed; run `npm ci` in consent/portal/device")
    copy = tmp_path / "device"
    shutil.copytree(HERE / "device", copy, symlinks=True)
    (tmp_path / "static").mkdir()
    done = subprocess.run(
        ["npm", "run", "build"], cwd=copy, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "static" / BUILT.name).read_bytes() == BUILT.read_bytes()
