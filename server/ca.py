"""The network's certificate authority: signs the TLS keys of members, nothing else."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twinward.errors import IdentityError
from twinward.files import read_secret, write_atomic, write_secret
from twinward.founding import tls_key_digest

_CA_YEARS = 10
_LEAF_DAYS = 90
_BACKDATED = timedelta(minutes=5)  # tolerates hospital clocks that are a little behind


def create(*, key_file: Path, certificate_file: Path, network: str, now: float) -> None:
    """Make the CA's P-256 key and its self-signed certificate; never overwrites a key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority(key.public_key(), issuer=key, of=network, now=now)
    write_secret(key_file, private_pem(key))
    write_atomic(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))


def authority(
    key: ec.EllipticCurvePublicKey,
    *,
    issuer: ec.EllipticCurvePrivateKey,
    of: str,
    now: float,
    above: x509.Certificate | None = None,
) -> x509.Certificate:
    """A CA certificate for this key: self-signed, or signed by the authority ``above`` it.

    One level of authorities may stand under a root, which is what a roll-over needs.
    """
    start = datetime.fromtimestamp(now, tz=UTC) - _BACKDATED
    end = start + timedelta(days=365 * _CA_YEARS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Twinward CA of {of}")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if above is None else above.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end if above is None else min(end, above.not_valid_after_utc))
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=1 if above is None else 0), critical=True
        )
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
        .sign(issuer, hashes.SHA256())
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as its file holds it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The CA's key."""
    key = serialization.load_pem_private_key(read_secret(path), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we wrote it
    return key


def issue(
    csr_pem: str, *, org: str, hosts: tuple[str, ...], key_file: Path, ca_file: Path, now: float
) -> str:
    """A certificate for the key in the request, valid 90 days; everything else in it is ours.

    Names in the request are ignored: the certificate says the organisation's name as its signed
    keys document has it, and the given hosts.

    Raises:
        IdentityError: TW2040, the request does not prove possession of its key.
    """
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        proved = csr.is_signature_valid
    except ValueError:
        proved = False
    if not proved:
        raise IdentityError(
            f"the certificate request of `{org}` is not signed by its own key",
            code="TW2040",
            help="ask the hospital to run `twinward node init` again and send the new request",
        )
    ca_key = load_key(key_file)
    ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
    start = datetime.fromtimestamp(now, tz=UTC) - _BACKDATED
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, org)]))
        .issuer_name(ca.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=_LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def require_key(csr_pem: str, spki_sha256: str, *, org: str) -> None:
    """Refuse a request for another key than the one that this member's identity signed for.

    Raises:
        IdentityError: TW6035.
    """
    if tls_key_digest(x509.load_pem_x509_csr(csr_pem.encode()).public_key()) != spki_sha256:
        raise IdentityError(
            f"a certificate of `{org}` is renewed for the key that hospitals endorsed, no other",
            code="TW6035",
            help="renew with the key in `secrets/tls.key`; a new key is a new member",
        )


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The hosts that the authority once gave this certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(each) for each in names.get_values_for_type(x509.IPAddress)),
    )


def require_own_names(csr_pem: str, *, org: str, hosts: tuple[str, ...]) -> None:
    """Refuse a request that asks for another name than its own organisation's and these hosts.

    ``issue`` would ignore such names; whoever asks for them is told, and does not join.

    Raises:
        IdentityError: TW2040 not a request, TW6025 foreign names.
    """
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        names = [str(attribute.value) for attribute in csr.subject]
        allowed = {_host(host) for host in hosts}
        asked: set[x509.GeneralName] = set()
        others = False
        for extension in csr.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                asked |= set(extension.value)
            else:
                others = True
    except ValueError as error:
        raise IdentityError(
            f"the certificate request of `{org}` cannot be read",
            code="TW2040",
            help="ask the hospital to run `twinward node join` again in a new folder",
        ) from error
    if names != [org] or others or not asked <= allowed:
        raise IdentityError(
            f"the certificate request of `{org}` asks for names that are not its own",
            code="TW6025",
            help="a request names the invited hospital, and no host but those of its invitation",
        )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
