"""What this process frees is overwritten at once: nothing that was read stays in freed memory.

Python's allocator and the C library leave what is freed as it was until somebody happens to write
there, so that a record outlives each object that held it. Both can be told otherwise by the
environment that a process starts with (``PYTHONMALLOC``; ``glibc.malloc.perturb`` in
``GLIBC_TUNABLES``, without the caches of threads, which it does not reach): the process starts
itself once more, with the same number, and passes the variables on to nobody.

Not reached: stacks, registers, and libraries with allocators of their own. Other C libraries than
glibc are left as they are.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Final

_PYTHON, _GLIBC = "PYTHONMALLOC", "GLIBC_TUNABLES"
_TUNED: Final = "glibc.malloc.tcache_count=0:glibc.malloc.perturb=90"


def begin() -> None:
    """Go on in a process that overwrites what it frees; call it before anything is read.

    Does not return the first time: this process becomes that one.
    """
    if is_on(os.environ):
        for name in (_PYTHON, _GLIBC):
            del os.environ[name]
    elif platform.libc_ver()[0] == "glibc":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(  # noqa: S606 - this very program
            sys.executable, [sys.executable, *sys.orig_argv[1:]], tuned(os.environ)
        )


def is_on(environment: Mapping[str, str]) -> bool:
    """Whether a process that started with these variables overwrites what it frees."""
    return environment.get(_PYTHON) == "malloc" and environment.get(_GLIBC, "").endswith(_TUNED)


def tuned(environment: Mapping[str, str]) -> dict[str, str]:
    """The same variables, and those that have it overwrite; other tunables stay."""
    others = [environment[_GLIBC]] if environment.get(_GLIBC) else []
    return {**environment, _PYTHON: "malloc", _GLIBC: ":".join([*others, _TUNED])}
