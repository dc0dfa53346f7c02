"""Kill -9 of whoever writes an audit log: what was acknowledged is there, and all of it fits."""

import random
import subprocess
import sys
import time

from ledger.log.check import problems
from ledger.log.store import Log

WRITER = """
import itertools, sys
from pathlib import Path
from ledger.log.entry import Draft
from ledger.log.store import Log

log = Log(Path(sys.argv[1]), origin="twinward/test")
for n in itertools.count():
    topics = (f"run:{n % 7}", f"patient:{n % 31}")
    log.append([Draft("use", topics, n, bytes(32))] * (1 + n % 5))
    if n % 3 == 0:
        log.seal()
    print(log.size, flush=True)
"""


def test_nothing_acknowledged_is_lost_and_nothing_half_written_stays(tmp_path):
    path, moments = tmp_path / "log.sqlite", random.Random(11)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        acknowledged = int(writer.stdout.readline())
        time.sleep(moments.uniform(0.02, 0.25))
        writer.kill()
        rest = [line for line in writer.stdout.read().split("\n") if line]
        writer.wait()
        writer.stdout.close()
        if len(rest) > 1:  # the last line may be cut
            acknowledged = int(rest[-2])
        assert list(problems(path, origin="twinward/test")) == []
        log = Log(path, origin="twinward/test")
        assert log.size >= acknowledged
        state = log.seal()
        assert log.topic("run:1", size=state.size).count == len(
            log.entries_of("run:1", size=state.size)
        )
        log.close()
