"""A new certificate for the same key while the node runs, and the authorities to trust."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hospital_node.egress import note
from hospital_node.join import require_issued
from hospital_node.join_link import JoinLink
from hospital_node.members import ask, network
from hospital_node.membership import load_founding
from hospital_node.settings import FILE, NodeSettings
from twinward import authorities, canonical
from twinward.clock import Clock, SystemClock
from twinward.errors import IdentityError, TwinwardError
from twinward.files import write_atomic
from twinward.founding import tls_key_digest
from twinward.join_token import JoinToken
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.reach import Reach
from twinward.rpc import protocol
from twinward.settings import load
from twinward.signing import Document
from twinward.ticking import Ticking

_LOOK_SECONDS = 3600.0


def renew(folder: Path, token_text: str | None = None) -> float:
    """Fetch a new certificate and put it in place; when it ends (Unix seconds).

    With a token, ``server invite --renew``, it is fetched at the coordinator's door, where a
    certificate that has expired is no hindrance.

    The authorities are written first: dying in between leaves the old certificate, which they
    still cover. Servers and channels of a running node take both up by themselves.

    Raises:
        IdentityError: TW6029 this hospital is not served any more, TW6030 and TW6035 the answer is
            not for this hospital's key or not by an authority of the network; TW6016 to TW6020
            the token.
        UsageError: TW6022, no common version of the protocol.
        CoordinatorUnreachable: TW6001, TW6021.
    """
    founding, organisation = load_founding(folder), Organisation(folder)
    org = load(NodeSettings, folder / FILE).org
    if token_text is None:
        csr = organisation.certificate_request(org).public_bytes(Encoding.PEM).decode()
        body = canonical.encode({"protocols": list(protocol.SPEAKS), "csr": csr})
        note(folder, "network", "renewal", to="coordinator", size=len(body), clock=SystemClock())
        with network(folder, founding) as stub:
            answer = canonical.decode(ask(stub.Renew, body), at="renewal")
    else:
        request = organisation.request_file(org).read_bytes()
        note(folder, "network", "renewal", to="coordinator", size=len(request), clock=SystemClock())
        token = JoinToken.parse(token_text)
        with JoinLink(token, reach=Reach.of(folder)) as link:
            answer = link.enrol(request, version=int(link.hello()["protocol"]))
    stated = canonical.encode(answer["authorities"])
    document = Document.decode(stated, kind=authorities.KIND, at="authorities")
    trusted, certificate = authorities.read(document, founding), str(answer.get("certificate"))
    require_issued(certificate, trusted)
    leaf = x509.load_pem_x509_certificate(certificate.encode())
    if tls_key_digest(leaf.public_key()) != founding.member(org).tls_spki_sha256:
        raise IdentityError(
            "the new certificate is for another key than this hospital's",
            code="TW6035",
            help="nothing was replaced; tell the coordinator",
        )
    write_atomic(organisation.tls.ca, trusted)
    write_atomic(organisation.tls.certificate, certificate.encode())
    return leaf.not_valid_after_utc.timestamp()


class Renewing(Ticking):
    """Renews a running node's certificate when it is due; what fails is tried again in an hour."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        super().__init__("renewing the certificate", every_seconds=_LOOK_SECONDS)
        self._folder = folder
        self._clock = clock

    def tick(self) -> None:
        """Look whether it is due."""
        certificate = Organisation(self._folder).tls.certificate
        if authorities.is_due(certificate.read_bytes(), now=self._clock.now()):
            renew(self._folder)
            log().info("certificate renewed")

    def failed(self, error: TwinwardError) -> None:
        """Say so in the log."""
        log().warning(
            "certificate is not renewed", code=error.code, reason=error.diagnostic.message
        )
