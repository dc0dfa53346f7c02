"""The demonstration, as a person runs it; and that it leaves nothing behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulators.network import command_lines, eventually

pytestmark = pytest.mark.slow


class Demo:
    """``twinward demo`` in a temporary folder of its own."""

    def __init__(self, folder, *words):
        environment = {**os.environ, "TMPDIR": str(folder)}
        environment.pop("TWINWARD_DATA_DIR", None)
        self.folder = folder
        self.talk = folder / "talk"
        with self.talk.open("wb") as talk:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "twinward", "demo", "--json", *words],
                stdout=subprocess.PIPE,
                stderr=talk,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in (self.process.pid, *command_lines(self.folder)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process.stdout.close()

    def said(self):
        return self.talk.read_text(errors="replace")

    def wait_for(self, words, *, seconds=150):
        def there():
            assert self.process.poll() is None, self.said()[-2000:]
            return words in self.said()

        eventually(there, seconds=seconds, note=self.said)

    def folders(self):
        return [path for path in self.folder.iterdir() if path.name.startswith("twinward-demo-")]


def test_it_goes_from_keys_to_a_verified_model_and_keeps_only_the_release(tmp_path):
    began = time.monotonic()
    with Demo(tmp_path) as demo:
        while not demo.said() and time.monotonic() - began < 10:
            time.sleep(0.05)
        first_line = time.monotonic() - began
        out, _ = demo.process.communicate(timeout=280)
        assert demo.process.returncode == 0, demo.said()[-3000:]
        assert not command_lines(tmp_path)
        seen = json.loads(out)
        said = demo.said()
        (kept,) = demo.folders()
    assert first_line < 5
    assert "VIRTUAL hospitals" in said.splitlines()[0]
    assert said.rstrip().splitlines()[-1].startswith("Next: twinward verify ")
    assert seen["schema"] == "twinward/demo/v1"
    assert seen["real_data"] is False
    assert len(seen["hospitals"]) == 4
    assert seen["stranger"]["code"] == "TW2010"
    assert seen["stranger"]["tls"]
    assert seen["stranger"]["supernode_exit"] != 0
    consents = seen["consents"]
    assert consents["granted"] + consents["refused"] == 820
    assert sum(consents["cohorts"].values()) == consents["granted"]
    withdrawal = seen["withdrawal"]
    home = seen["hospitals"][0]
    assert withdrawal["hospital"] == home
    assert withdrawal["cohort_after"] == consents["cohorts"][home] - 1
    assert seen["lost"]["missing"] == [seen["hospitals"][-1]]
    release = seen["release"]
    assert (release["epsilon"], release["delta"]) == (1.0, 1e-5)
    assert release["attempts"] <= release["attempts_reserved"] == 33
    assert set(release["members"]) == set(seen["hospitals"][:-1])
    assert set(seen["reserved"]) == set(seen["hospitals"][:-1])
    assert all(0.9 < spent <= 1.0 for spent in seen["reserved"].values())
    assert {row["method"] for row in seen["comparison"]["rows"]} == {
        "alone", "together", "without privacy",
    }  # fmt: skip
    assert release["evaluation"]["missing"] is None
    assert seen["evidence"]["verified"] is True
    assert seen["evidence"]["forged_fault"]["code"].startswith("V")
    twin = seen["twin"]
    assert twin["hospital"] == home
    assert twin["less"] > 0 > twin["more"]
    assert {one["knows"]: one["wrong_way"] for one in twin["forecasters"]} == {
        "sensor and pump": True, "sensor, pump and food": True,
    }  # fmt: skip
    assert all(one["error_over_persistence"] < 1 for one in twin["forecasters"])
    assert twin["refused"] == "TW7110"
    fans = Path(twin["fans"])
    assert fans.read_text().count('class="middle"') == 3
    # Every key and every patient of the throw-away network is gone; the release stays.
    left = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    released = {"model.safetensors", "card.md", "card.json", "evidence.zip", "release.json"}
    released |= {"evaluation.json", "report.html", "privacy.svg", "privacy.json", "twin.svg"}
    assert left == {f"release/{name}" for name in released}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_interrupted_while_everything_starts_it_leaves_no_process_and_no_folder(tmp_path, number):
    with Demo(tmp_path) as demo:
        demo.wait_for("node up station &" if number == signal.SIGINT else "node init HOSPITAL")
        os.kill(demo.process.pid, number)
        assert demo.process.wait(60) == 130
        assert "interrupted" in demo.said()
        eventually(lambda: not command_lines(tmp_path), seconds=15)
        assert demo.folders() == []


def test_killed_itself_it_takes_every_process_with_it(tmp_path):
    with Demo(tmp_path) as demo:
        demo.wait_for("Patients answer their letters")
        assert len(command_lines(tmp_path)) > 12
        os.kill(demo.process.pid, signal.SIGKILL)
        eventually(
            lambda: not command_lines(tmp_path),
            seconds=30,
            note=lambda: command_lines(tmp_path),
        )
