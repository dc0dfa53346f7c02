"""``twinward verify``: the offline verifier as a command; it needs nothing beyond its file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, reports_errors
from twinward.errors import EXIT_REFUSED, UsageError

if TYPE_CHECKING:
    from twinward.founding import Founding

PATH = click.Path(path_type=Path, dir_okay=False)


class PackByDefault(click.Group):
    """Commands with names; what names none of them is the pack of the one without."""

    default = "pack"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the unsaid name before the words of the one without."""
        if not args or args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@click.group(cls=PackByDefault, subcommand_metavar="PACK | COMMAND [ARGS]...")
def verify() -> None:
    """Check evidence offline: `twinward verify PACK` a pack or an answer, `verify censorship` more.

    Options of PACK are shown by `twinward verify pack --help`.
    """


@verify.command()
@click.argument("pack", type=PATH)
@click.option("--founding", type=PATH, help="Your own copy of the founding file.")
@click.option("--founding-sha256", help="SHA-256 of the founding file, in hex.")
@click.option("--fast", is_flag=True, help="Hashes, signatures and one proof only.")
@click.option("--full", is_flag=True, help="Everything, which is the default, with progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pack(
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


@verify.command()
@click.argument("file", type=PATH)
@click.option("--founding", type=PATH, required=True, help="Your own copy of the founding file.")
@click.option("--statements", type=PATH, help="From `twinward node statements`.")
@click.option("--copy", type=PATH, help="A copy of the ledger: nothing is asked over a network.")
@click.option("--ledger", "url", help="Instead of a copy: address of any node of the ledger.")
@click.option("--out", type=PATH, help="Where the evidence goes, if there is any.")
@json_option
@reports_errors
def censorship(
    *,
    file: Path,
    founding: Path,
    statements: Path | None,
    copy: Path | None,
    url: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find out whether a withdrawal that a hospital acknowledged was kept from the ledger.

    FILE is the receipt of the withdrawal, as the patient got it, or evidence that was made of one.
    A receipt needs statements, and a copy of the ledger or its address. The status is 0 if the
    ledger shows the withdrawal, 6 if it was kept away, and another one if this cannot be told.
    """
    from ledger import censorship as judge
    from twinward.files import read_given, write_atomic
    from twinward.founding import Founding

    known, archive = read_given(founding), read_given(file)
    network = Founding.decode(known, at=str(founding))
    found: bytes | None = archive
    if not judge.is_evidence(archive):
        receipt = judge.receipt_in(archive, at=str(file))
        found = _evidence(receipt, network, founding, statements=statements, copy=copy, url=url)
    report = None if found is None else judge.kept_away(found, known)
    on_ledger, notes = report is None, [] if report is None else list(report.notes)
    detail = None if report is None else report.checks[-1].detail
    written = None if on_ledger or out is None else str(out)
    if written is not None and found is not None:
        write_atomic(Path(written), found)

    def text() -> str:
        lines = [f"the withdrawal was KEPT AWAY: {detail}", *(f"not shown: {n}" for n in notes)]
        if written is not None:
            lines.append(f"anyone can check it: twinward verify censorship {written}")
        return "the ledger shows the withdrawal" if on_ledger else "\n".join(lines)

    emit(
        {
            "verdict": "on-ledger" if on_ledger else "kept-away",
            "detail": detail,
            "not_shown": notes,
            "evidence": written,
        },
        schema="verify.censorship",
        as_json=as_json,
        text=text,
    )
    if not on_ledger:
        sys.exit(EXIT_REFUSED)


def _evidence(
    receipt: bytes,
    network: Founding,
    founding: Path,
    *,
    statements: Path | None,
    copy: Path | None,
    url: str | None,
) -> bytes | None:
    """The archive that proves it; None if the ledger shows the withdrawal."""
    from contextlib import ExitStack, closing

    from ledger import censorship as judge
    from ledger.fork import Statements
    from twinward.files import read_given

    if statements is None or (copy is None) == (url is None):
        raise UsageError(
            "a receipt alone does not tell what stands on the ledger",
            code="TW3181",
            help="add `--statements FILE`, and either `--copy FILE` or `--ledger URL`",
        )
    tips = Statements.decode(read_given(statements), at=str(statements)).tips
    with ExitStack() as stack:
        rpc: judge.Ledger
        if copy is not None:
            from ledger.embedded.offline import answering

            rpc = stack.enter_context(answering(copy))
        else:
            from ledger.endpoint import Endpoint

            rpc = stack.enter_context(closing(Endpoint.of(network, founding.parent, url=url).rpc()))
        return judge.evidence(
            receipt,
            tips=tips,
            rpc=rpc,
            contract=str(network.contracts["consent"]),
            founding=read_given(founding),
        )
