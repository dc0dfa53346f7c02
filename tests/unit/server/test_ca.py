"""The network's authority signs keys, not what a request says about itself."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server import ca
from twinward.errors import IdentityError, UsageError

NOW = 1_800_000_000.0


@pytest.fixture
def authority(tmp_path):
    files = {"key_file": tmp_path / "ca.key", "certificate_file": tmp_path / "ca.pem"}
    ca.create(**files, network="demo", now=NOW)
    return tmp_path


def request(name="harbour", *, extra=None, key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    csr = builder.sign(key, hashes.SHA256())
    return key, csr.public_bytes(serialization.Encoding.PEM).decode()


def issue(authority, csr, **changed):
    given = {
        "org": "harbour",
        "hosts": ("127.0.0.1", "localhost"),
        "key_file": authority / "ca.key",
        "ca_file": authority / "ca.pem",
        "now": NOW,
    }
    return x509.load_pem_x509_certificate(ca.issue(csr, **(given | changed)).encode())


def test_a_certificate_is_for_the_key_of_the_request_and_chains_to_the_authority(authority):
    key, csr = request()
    certificate = issue(authority, csr)
    root = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(root)
    assert certificate.public_key() == key.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_it_holds_for_ninety_days_and_tolerates_a_clock_that_is_a_little_behind(authority):
    certificate = issue(authority, request()[1])
    start = datetime.fromtimestamp(NOW, tz=UTC)
    assert certificate.not_valid_before_utc == start - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == start - timedelta(minutes=5) + timedelta(days=90)


def test_a_request_that_names_another_hospital_gets_the_name_it_is_known_by(authority):
    certificate = issue(authority, request("meadow")[1])
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["harbour"]


def test_a_request_to_become_an_authority_is_not_heard(authority):
    wish = x509.BasicConstraints(ca=True, path_length=3)
    certificate = issue(authority, request(extra=wish)[1])
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_request_for_a_key_that_its_sender_does_not_hold_is_refused(authority):
    _, csr = request()
    theirs = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = bytearray(x509.load_pem_x509_csr(csr.encode()).public_bytes(serialization.Encoding.DER))
    mine = x509.load_pem_x509_csr(csr.encode()).public_key()
    points = [
        key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for key in (mine, theirs)
    ]
    assert der.count(points[0]) == 1
    swapped = x509.load_der_x509_csr(bytes(der).replace(*points))
    forged = swapped.public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(IdentityError) as refused:
        issue(authority, forged)
    assert refused.value.code == "TW2040"


MALFORMED = "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize("text", ["", "not a request", MALFORMED])
def test_what_is_no_request_is_refused(authority, text):
    with pytest.raises(IdentityError) as refused:
        issue(authority, text)
    assert refused.value.code == "TW2040"


def test_an_authoritys_key_is_never_overwritten_and_never_open(authority):
    before = (authority / "ca.key").read_bytes()
    assert (authority / "ca.key").stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError) as refused:
        ca.create(
            key_file=authority / "ca.key",
            certificate_file=authority / "ca.pem",
            network="demo",
            now=NOW,
        )
    assert refused.value.code == "TW1013"
    assert (authority / "ca.key").read_bytes() == before
    (authority / "ca.key").chmod(0o644)
    with pytest.raises(IdentityError) as refused:
        issue(authority, request()[1])
    assert refused.value.code == "TW2005"
