"""How the commands on backups are told passphrases and keys: by files and standard input only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from twinward import backup
from twinward.console import emit, json_option, next_step, reports_errors, say, table
from twinward.errors import UsageError
from twinward.files import read_given, read_secret, write_atomic, write_secret
from twinward.sealed_file import Lock, Opener, Passphrase, PrivateKey, Recipient
from twinward.sealed_folder import Sealed, check, describe

PATH = click.Path(path_type=Path, dir_okay=False)


def lock_options(command: Callable[..., None]) -> Callable[..., None]:
    """What seals the file of records, and the file of keys."""
    for option in reversed(
        (
            click.option("--passphrase-file", type=PATH, help="Its first line seals the records; "
                         "default: a line of standard input."),
            click.option("--recipient", type=PATH, help="Seal the records for this public key "
                         "of `backup-key` instead."),
            click.option("--keys-passphrase-file", type=PATH, help="The same for the keys."),
            click.option("--keys-recipient", type=PATH, help="The same for the keys."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def opener_options(command: Callable[..., None]) -> Callable[..., None]:
    """What opens the file of records, and the file of keys."""
    for option in reversed(
        (
            click.option("--passphrase-file", type=PATH, help="Its first line opens the records; "
                         "default: a line of standard input."),
            click.option("--private-key", type=PATH, help="The key that `backup-key` made."),
            click.option("--keys-passphrase-file", type=PATH, help="The same for the keys."),
            click.option("--keys-private-key", type=PATH, help="The same for the keys."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def lock(file: Path | None, public: Path | None, *, of: str) -> Lock:
    """A passphrase or somebody's public key.

    Raises:
        UsageError: TW7405, no passphrase, or one that is too short; TW1070, TW1014.
        IdentityError: TW2005, others can read the file.
    """
    if public is None:
        return passphrase(file, of=of)
    return Recipient(X25519PublicKey.from_public_bytes(_32_bytes(read_given(public), public)))


def opener(file: Path | None, private: Path | None, *, of: str) -> Opener:
    """A passphrase or a private key; raises as ``lock``."""
    if private is None:
        return passphrase(file, of=of)
    raw = _32_bytes(read_secret(private), private)
    return PrivateKey(X25519PrivateKey.from_private_bytes(raw))


def require_two(records: Lock, keys: Lock) -> None:
    """Require that who can read the records cannot open the keys by the same words.

    Raises:
        UsageError: TW7405.
    """
    if isinstance(records, Passphrase) and records == keys:
        raise UsageError(
            "records and keys are sealed under the same passphrase",
            code="TW7405",
            help="take another one for the keys, and keep it with other people",
        )


def make_key(file: Path) -> Path:
    """Make a pair of keys: the private one in a file for its owner only; where the public one is.

    Raises:
        UsageError: TW1013, there is one already.
    """
    private, public = X25519PrivateKey.generate(), file.with_name(f"{file.name}.pub")
    write_secret(file, private.private_bytes_raw().hex().encode() + b"\n")
    write_atomic(public, private.public_key().public_bytes_raw().hex().encode() + b"\n")
    return public


def backup_key(*, role: str) -> click.Command:
    """The command ``backup-key`` of a role."""

    @click.command(name="backup-key")
    @click.argument("file", type=PATH)
    @json_option
    @reports_errors
    def command(*, file: Path, as_json: bool) -> None:
        """Make the key that opens backups in FILE, and FILE.pub to seal them with."""
        public = make_key(file)
        found: dict[str, Any] = {"private": str(file), "public": str(public)}
        emit(found, schema=f"{role}.backup-key", as_json=as_json, text=lambda: f"{file}\n{public}")
        next_step(f"keep {file} on another machine; only {public} is needed to make backups")

    return command


def backup_show(*, role: str) -> click.Command:
    """The command ``backup-show`` of a role."""

    @click.command(name="backup-show")
    @click.argument("file", type=PATH)
    @click.option("--check", "is_checked", is_flag=True, help="Open it and check every byte.")
    @click.option("--passphrase-file", type=PATH, help="Its first line opens it.")
    @click.option("--private-key", type=PATH, help="The key that `backup-key` made.")
    @json_option
    @reports_errors
    def command(
        *,
        file: Path,
        is_checked: bool,
        passphrase_file: Path | None,
        private_key: Path | None,
        as_json: bool,
    ) -> None:
        """Show what anyone can see of a backup FILE; with --check, that all of it is as written."""
        found = {**describe(file)}
        if is_checked:
            sealed = Sealed(file, opener(passphrase_file, private_key, of=file.name))
            found["files"] = [row["path"] for row in check(sealed)["files"]]
        rows = [(key, str(value)) for key, value in found.items() if key != "files"]
        rows += [("file", path) for path in found.get("files", ())]
        emit(
            found,
            schema=f"{role}.backup-show",
            as_json=as_json,
            text=lambda: table(("WHAT", "VALUE"), rows),
        )

    return command


def targets(
    *, records: Path, records_lock: tuple[Path | None, Path | None],
    keys: Path | None, keys_lock: tuple[Path | None, Path | None],
) -> dict[str, tuple[Path, Lock]]:  # fmt: skip
    """What ``twinward.backup.back_up`` writes, each file with its lock.

    Raises:
        UsageError: TW7405, and as ``lock``.
    """
    found = {backup.RECORDS: (records, lock(*records_lock, of="records"))}
    if keys is not None:
        found[backup.KEYS] = (keys, lock(*keys_lock, of="keys"))
        require_two(found[backup.RECORDS][1], found[backup.KEYS][1])
    return found


def sealed(
    *, records: Path, records_key: tuple[Path | None, Path | None],
    keys: Path, keys_key: tuple[Path | None, Path | None],
) -> dict[str, backup.Sealed]:  # fmt: skip
    """What ``twinward.backup.restore`` reads; raises as ``opener``."""
    return {
        backup.RECORDS: Sealed(records, opener(*records_key, of="records")),
        backup.KEYS: Sealed(keys, opener(*keys_key, of="keys")),
    }


def show_taken(taken: Sequence[backup.Taken], *, role: str, as_json: bool) -> None:
    """Print what was written."""
    rows = [(one.what, str(one.file), str(len(one.paths)), str(one.bytes)) for one in taken]
    emit(
        {one.what: {"file": str(one.file), "paths": list(one.paths), "bytes": one.bytes}
         for one in taken},
        schema=f"{role}.backup",
        as_json=as_json,
        text=lambda: table(("WHAT", "FILE", "FILES IN IT", "BYTES"), rows),
    )  # fmt: skip
    if backup.KEYS not in {one.what for one in taken}:
        say("keys are not in it: without a file of `--keys` nothing can be restored")


def passphrase(file: Path | None, *, of: str, is_new: bool = False) -> Passphrase:
    """The first line of a file of its owner, or of standard input; asked for on a terminal.

    One that is new, for something that nobody could open again, is asked for twice.

    Raises:
        UsageError: TW7405, too short; TW1014. IdentityError: TW2005, others can read the file.
    """
    if file is not None:
        lines = read_secret(file).splitlines()
        return Passphrase(lines[0].strip() if lines else b"")
    if sys.stdin.isatty():
        words = click.prompt(f"Passphrase of the {of}", hide_input=True, err=True,
                             confirmation_prompt=is_new)  # fmt: skip
        return Passphrase(str(words).encode())
    return Passphrase(sys.stdin.readline().strip().encode())


def _32_bytes(data: bytes, path: Path) -> bytes:
    try:
        found = bytes.fromhex(data.decode().strip())
    except ValueError:
        found = b""
    if len(found) != 32:
        raise UsageError(
            "this is not a key that `backup-key` made",
            code="TW7405",
            at=str(path),
            help="give the file of the right name: the public one seals, the private one opens",
        )
    return found
