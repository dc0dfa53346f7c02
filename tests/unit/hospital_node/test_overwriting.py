"""What a process frees is overwritten, shown on a process that did it to itself."""

import os
import platform
import subprocess
import sys

import pytest

from hospital_node.overwriting import tuned

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

PROGRAM = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from hospital_node import overwriting

overwriting.begin()
where = []
for size in (40, 400, 40_000):
    text = bytes(range(65, 75)) * (size // 10)
    where.append((id(text) + 32, size))
    del text
left = [ctypes.string_at(at + 16, size - 32) for at, size in where]
print(os.getpid(), sys.argv[2:], sorted(set(os.environ) & {"PYTHONMALLOC", "GLIBC_TUNABLES"}))
print([b"ABCDEFGHIJ" in each for each in left])
"""


def started(tmp_path, program, **environment):
    (tmp_path / "program.py").write_text(program)
    words = [sys.executable, "-P", "program.py", os.getcwd(), "--a word", "x"]
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        said = process.stdout.read().splitlines()
    return process.pid, said


def test_a_process_starts_itself_anew_and_what_it_frees_is_gone(tmp_path):
    pid, said = started(tmp_path, PROGRAM, GLIBC_TUNABLES="glibc.malloc.arena_max=4")
    assert said == [f"{pid} ['--a word', 'x'] []", "[False, False, False]"]
    pid, said = started(tmp_path, PROGRAM.replace("overwriting.begin()", ""))
    assert "True" in said[1]  # otherwise it stays


def test_tunables_of_the_machine_stay():
    assert tuned({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4", "A": "b"}) == {
        "A": "b",
        "PYTHONMALLOC": "malloc",
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=4:glibc.malloc.tcache_count=0:"
        "glibc.malloc.perturb=90",
    }
