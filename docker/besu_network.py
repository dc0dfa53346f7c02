"""Writes what four or more Besu validators need to be one ledger: a file set for each to mount.

    python docker/besu_network.py OUT --validator HOST=PUBLIC_KEY ... --account 0xADDRESS ...

Each validator makes its node key at home and gives away the public key only (``besu public-key
export``). Accounts are the ledger accounts of the founding file: nobody else may send. No key is
read or written here.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import sys
from pathlib import Path
from typing import Any

import rlp
from eth_hash.auto import keccak

PORT = 30303
FEWEST = 4
"""Fewer validators than four cannot lose one and go on (QBFT needs two thirds)."""

_TEMPLATE = Path(__file__).with_name("genesis.template.json")


def address_of(public_key: bytes) -> bytes:
    """The address of a validator's public key: 64 raw bytes, or 65 with the leading 4."""
    return bytes(keccak(public_key[-64:])[12:])


def genesis(public_keys: list[bytes]) -> dict[str, Any]:
    """The genesis file, with the validators in its extra data as QBFT wants them."""
    made: dict[str, Any] = json.loads(_TEMPLATE.read_text(encoding="utf-8"))
    validators = sorted(address_of(key) for key in public_keys)
    # Vanity, validators, no vote, round 0, no seals.
    made["extraData"] = "0x" + rlp.encode([bytes(32), validators, [], b"", []]).hex()
    return made


def enode(host: str, public_key: bytes) -> str:
    """Where a validator is reached and which key it must show."""
    return f"enode://{public_key[-64:].hex()}@{host}:{PORT}"


def permissions(enodes: list[str], accounts: list[str]) -> str:
    """Besu's local allowlists: who connects, and who sends transactions."""
    return (
        f"nodes-allowlist={json.dumps(enodes)}\naccounts-allowlist={json.dumps(sorted(accounts))}\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the three files; nothing if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--validator", action="append", default=[], metavar="IP=PUBLIC_KEY")
    parser.add_argument("--account", action="append", default=[], metavar="0xADDRESS")
    chosen = parser.parse_args(arguments)
    validators = []
    for text in chosen.validator:
        host, _, key = text.partition("=")
        try:
            raw = bytes.fromhex(key.removeprefix("0x"))
            ipaddress.ip_address(host)
        except ValueError as error:
            parser.error(f"{text}: {error}")
        if len(raw) != 64 and not (len(raw) == 65 and raw[0] == 4):
            parser.error(f"{text}: not a public key of 64 bytes")
        validators.append((host, raw))
    if len({raw[-64:] for _, raw in validators}) < FEWEST:
        parser.error(f"at least {FEWEST} different validators are needed")
    if not chosen.account or not all(
        re.fullmatch(r"0x[0-9a-f]{40}", account) for account in chosen.account
    ):
        parser.error("give every ledger account of the founding file, in lower case")
    enodes = [enode(host, raw) for host, raw in validators]
    files = {
        "genesis.json": json.dumps(genesis([raw for _, raw in validators]), indent=2) + "\n",
        "static-nodes.json": json.dumps(enodes, indent=2) + "\n",
        "permissions.toml": permissions(enodes, chosen.account),
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (chosen.out / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
