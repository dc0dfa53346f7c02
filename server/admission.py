"""Founding a network: from join requests to one file that every member has signed.

No order of these calls admits anybody by itself: a node starts only with a file that carries the
signature of every member, and it checked and signed that file on its own machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.founding import KEYS_KIND, KIND, Founding
from twinward.ids import OrgName, org_name
from twinward.organisation import REQUEST_KIND
from twinward.signing import Document, PublicIdentity


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A request whose signatures have been checked: keys and a certificate request."""

    org: OrgName
    role: str
    ledger_account: str
    identity: PublicIdentity
    keys: Document
    csr: str

    @classmethod
    def decode(cls, data: bytes, *, at: str) -> JoinRequest:
        """Read what ``init`` wrote; both the request and the keys must be signed by the identity.

        Raises:
            UsageError: TW1011, TW1012, TW1032.
            IdentityError: TW2001, TW2002, TW2004.
        """
        document = Document.decode(data, kind=REQUEST_KIND, at=at)
        try:
            keys = Document.decode(
                canonical.encode(document.payload["keys"]), kind=KEYS_KIND, at=at
            )
            identity = PublicIdentity.from_hex(keys.payload["identity"])
            request = cls(
                org=org_name(keys.payload["org"]),
                role=str(keys.payload["role"]),
                ledger_account=str(keys.payload["ledger_account"]),
                identity=identity,
                keys=keys,
                csr=str(document.payload["csr"]),
            )
        except (KeyError, TypeError) as error:
            raise UsageError(
                "this is not a complete join request",
                code="TW1032",
                at=at,
                help="ask the hospital for the file that `twinward node init` wrote",
            ) from error
        keys.verify(identity)
        document.verify(identity)
        return request


def draft(
    *,
    network: str,
    requests: Sequence[JoinRequest],
    certificates: Mapping[OrgName, str],
    chain: Mapping[str, Any],
    endpoints: Mapping[str, str],
    ca_certificate: str,
) -> Document:
    """The founding file before anyone has signed it."""
    members = [
        {
            "keys": {
                "kind": request.keys.kind,
                "payload": dict(request.keys.payload),
                "signatures": [
                    {"by": by, "signature": signature.hex()}
                    for by, signature in request.keys.signatures
                ],
            },
            "certificate": certificates[request.org],
        }
        for request in requests
    ]
    document = Document(
        KIND,
        {
            "network": network,
            "chain": dict(chain),
            "endpoints": dict(endpoints),
            "ca_certificate": ca_certificate,
            "members": members,
        },
    )
    Founding.draft(document.encode())
    return document


def merge(mine: Document, signed: Sequence[Document]) -> Document:
    """One file with everybody's signatures, from copies that each carry some.

    Raises:
        IdentityError: TW2012, a copy is of another file; and what ``Founding.decode`` raises when
            a signature is missing or wrong.
    """
    signatures = dict(mine.signatures)
    for copy in signed:
        if copy.digest != mine.digest:
            raise IdentityError(
                "a signed copy is of a different founding file",
                code="TW2012",
                help="send every hospital the same file and have each sign that one",
            )
        signatures.update(copy.signatures)
    merged = Document(mine.kind, mine.payload, tuple(sorted(signatures.items())))
    Founding.decode(merged.encode())
    return merged
