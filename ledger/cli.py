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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(
    *, pack: Path, founding: Path | None, founding_sha256: str | None, as_json: bool
) -> None:
    """Check every signature, sum and weight of an evidence PACK, offline.

    The same check runs without Twinward: copy ledger/verify.py and use any Python 3.11.
    """
    from ledger import verify as verifier

    arguments = [str(pack), *(["--json"] if as_json else [])]
    arguments += ["--founding", str(founding)] if founding else []
    arguments += ["--founding-sha256", founding_sha256] if founding_sha256 else []
    sys.exit(verifier.main(arguments))
