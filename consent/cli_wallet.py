"""``twinward consent seal | receipt``: the wallet itself, and how commands that sign open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, reports_errors, say
from twinward.errors import UsageError

if TYPE_CHECKING:
    from consent.patient_keys import Wallet

_FILE = click.Path(path_type=Path, dir_okay=False)

wallet_option = click.option(
    "--wallet",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The patients' own folder with keys and receipts.",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=_FILE,
    help="Its first line opens the keys of a sealed wallet, or seals a new one; default for a "
    "sealed one: asked for, or a line of standard input.",
)


def opened(folder: Path, passphrase_file: Path | None) -> Wallet:
    """A wallet that can sign; one that is new is sealed if there is a passphrase for it.

    Raises:
        IdentityError: TW3020, TW2005; TW3183, the passphrase is another one.
        UsageError: TW3184, the wallet has letters and no seal; TW7405.
        ConsentError: TW3021, TW3022.
    """
    from consent.patient_keys import Wallet
    from twinward.backup_options import passphrase

    wallet = Wallet.open(folder)
    if wallet.seal.is_there:
        wallet.seal.open(passphrase(passphrase_file, of="wallet"))
    elif passphrase_file is None:
        if not wallet.entries():
            say(f"keys in {folder} lie there unsealed; `twinward consent seal` seals them")
    elif wallet.entries():
        raise UsageError(
            "this wallet is not sealed",
            code="TW3184",
            help="seal it first with `twinward consent seal`",
        )
    else:
        wallet.seal.put_on(passphrase(passphrase_file, of="wallet"))
    return wallet


@click.command()
@wallet_option
@click.option(
    "--passphrase-file",
    type=_FILE,
    help="Its first line seals; default: asked for twice, or a line of standard input.",
)
@json_option
@reports_errors
def seal(folder: Path, *, passphrase_file: Path | None, as_json: bool) -> None:
    """Put the keys of a wallet, new or not, under a passphrase; nobody can take it off again.

    Whoever forgets it withdraws at the hospital's desk, and asks for new letters.
    """
    from consent.patient_keys import Wallet
    from twinward.backup_options import passphrase

    words = passphrase(passphrase_file, of="wallet", is_new=True)
    count = Wallet.open(folder).seal.put_on(words)
    emit(
        {"wallet": str(folder), "keys": count},
        schema="consent.seal",
        as_json=as_json,
        text=lambda: (
            f"{count} keys lie under the passphrase now, and every later one will;"
            " older copies of the folder do not: destroy them"
        ),
    )


@click.command()
@wallet_option
@click.argument("letter")
@click.option(
    "--out", type=_FILE, required=True, help="Where the receipt goes, as the hospital signed it."
)
@json_option
@reports_errors
def receipt(folder: Path, letter: str, *, out: Path, as_json: bool) -> None:
    """Write the hospital's last receipt for a LETTER to a file, for whoever checks it."""
    from consent.patient_keys import Wallet
    from twinward.files import write_atomic

    found = Wallet.open(folder).entry(letter).receipt
    if found is None:
        raise UsageError(
            f"the hospital gave no receipt for `{letter}` yet",
            code="TW3182",
            help="give the answer again; it is sent as it was, and the receipt comes back",
        )
    write_atomic(out, found, mode=0o600)
    emit(
        {"receipt": str(out)},
        schema="consent.receipt",
        as_json=as_json,
        text=lambda: f"{out}: as the hospital signed it; `twinward verify censorship` reads it",
    )


COMMANDS = (seal, receipt)
