"""Slither over the contracts, held against what was reviewed: any other finding fails.

    make slither                                    # in an environment of its own
    python ledger/contracts/slither.py --record     # write the present findings, to be reviewed

A finding is known by its check and by what slither says of it, without line numbers. One that was
accepted and is not found any more fails too: the list then says less than it seems to. Standard
library only; slither (https://github.com/crytic/slither, AGPL) runs as a program of its own and
is part of nothing that is shipped. Needs `npm ci` in this folder for forge and the compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "slither-baseline.json"
_SOURCES = ("src", "foundry.toml", "solc.js")
_PLACE = re.compile(r"\s*\(src/[^)]*\)")


def findings(folder: Path) -> list[dict[str, str]]:
    """What slither says of the contracts in a copy of this folder.

    Raises:
        SystemExit: It could not run; its own words are printed.
    """
    for name in _SOURCES:
        source = HERE / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy2(source, folder / name)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    tools = [str(path) for path in (HERE / "node_modules/@foundry-rs").glob("forge-*/bin")]
    said = folder / "said.json"
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("slither")), "."),
            *("--json", str(said), "--filter-paths", "node_modules", "--fail-none"),
        ],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join([*tools, os.environ.get("PATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(said.read_bytes())
    except (OSError, ValueError):
        report = {"success": False}
    if not report["success"]:
        sys.exit(f"slither could not run (exit {done.returncode}):\n{done.stderr[-2000:]}")
    found = [_finding(one) for one in report["results"].get("detectors", [])]
    return sorted(found, key=lambda one: (one["check"], one["what"]))


def _finding(one: dict[str, Any]) -> dict[str, str]:
    what = " ".join(_PLACE.sub("", one["description"]).split())
    return {"check": one["check"], "impact": one["impact"], "what": what}


def compare(found: list[dict[str, str]], accepted: list[dict[str, str]]) -> list[str]:
    """What differs, one line each; nothing if all was reviewed and all is still there."""
    known = {(one["check"], one["what"]) for one in accepted}
    present = {(one["check"], one["what"]) for one in found}
    lines = [f"NEW   {check}: {what}" for check, what in sorted(present - known)]
    lines += [f"GONE  {check}: {what}" for check, what in sorted(known - present)]
    lines += [f"NO REASON  {one['check']}: {one['what']}" for one in accepted if not one.get("why")]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Compare, or record; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write what is found, unreviewed")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = findings(Path(folder))
    accepted = json.loads(BASELINE.read_text()) if BASELINE.exists() else []
    if chosen.record:
        why = {(one["check"], one["what"]): one["why"] for one in accepted}
        named = [{**one, "why": why.get((one["check"], one["what"]), "")} for one in found]
        BASELINE.write_text(json.dumps(named, indent=1) + "\n")
        return 0
    differs = compare(found, accepted)
    for line in differs:
        print(line)  # noqa: T201 - a program of its own
    print(  # noqa: T201 - as above
        f"slither: {len(found)} findings, {len(accepted)} reviewed, {len(differs)} differ"
    )
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
