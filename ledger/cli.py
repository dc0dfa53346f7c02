"""``twinward verify``: the offline verifier as a command; it needs nothing beyond its file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("pack", type=PATH)
@click.option("--founding", type=PATH, help="Your own copy of the founding file.")
@click.option("--founding-sha256", help="SHA-256 of the founding file, in hex.")
@click.option("--fast", is_flag=True, help="Hashes, signatures and one proof only.")
@click.option("--full", is_flag=True, help="Everything, which is the default, with progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(
    *,
    pack: Path,
    founding: Path | None,
    founding_sha256: str | None,
    fast: bool,
    full: bool,
    as_json: bool,
) -> None:
    """Check every signature, sum and weight of an evidence PACK, or an answer's proof, offline.

    The same check runs without Twinward: copy ledger/verify.py and use any Python 3.11.
    """
    from ledger import verify as verifier

    chosen = {"--json": as_json, "--fast": fast, "--full": full}
    arguments = [str(pack), *(option for option, wanted in chosen.items() if wanted)]
    arguments += ["--founding", str(founding)] if founding else []
    arguments += ["--founding-sha256", founding_sha256] if founding_sha256 else []
    sys.exit(verifier.main(arguments))
