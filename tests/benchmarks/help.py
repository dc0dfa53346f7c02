"""``twinward --help``: how long a person waits for the first word, beside Python doing nothing.

Median of ten starts each, interleaved; the limit is 150 ms.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

STARTS = 10
LIMIT_MS = 150.0


def start(*words):
    """Milliseconds of wall time from start to end of a command."""
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, check=True)
    assert words[-1] != "--help" or b"Usage" in done.stdout
    return (time.perf_counter() - began) * 1000


def measure():
    program = str(Path(sys.executable).with_name("twinward"))
    peers = {
        "help": (program, "--help"),
        "python_alone": (sys.executable, "-c", "pass"),
        "python_and_click": (sys.executable, "-c", "import click"),
    }
    taken = {name: [] for name in peers}
    for _ in range(STARTS):
        for name, words in peers.items():
            taken[name].append(start(*words))
    median = {name: statistics.median(values) for name, values in taken.items()}
    return {
        **{f"{name}_ms": round(value, 1) for name, value in median.items()},
        "help_worst_ms": round(max(taken["help"]), 1),
        "ratio_to_python": round(median["help"] / median["python_alone"], 2),
        "ratio_to_click": round(median["help"] / median["python_and_click"], 2),
        "starts": STARTS,
        "targets": {"median <= 150 ms": median["help"] <= LIMIT_MS},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    result = measure()
    if parser.parse_args().json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0 if all(result["targets"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
