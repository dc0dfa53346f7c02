"""The door for invited hospitals, attacked: every refusal by its code, and nothing handed out."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.account import address_of, new_key
from ledger.audit.log import AuditLog
from server.coordinator import Coordinator
from server.front_door_patience import InVain
from server.invitations import Register
from server.joining import Joining
from server.paths import ServerPaths
from server.settings import FILE, ServerSettings
from tests.simulators.founding import NOW, Paper
from twinward import admission, canonical
from twinward.clock import FixedClock
from twinward.errors import IdentityError, TwinwardError, UsageError
from twinward.ids import OrgName
from twinward.join_token import JoinToken
from twinward.organisation import Organisation, join_request
from twinward.rpc import protocol
from twinward.settings import load
from twinward.signing import Document

HERE = "ipv4:192.0.2.1"
NEW = "summit"


class Door:
    """A coordinator that was founded on paper, and its door."""

    def __init__(self, folder):
        folder.mkdir()
        self.paper = Paper(folder)
        self.founding = self.paper.found()
        self.clock = FixedClock(NOW)
        home = self.paper.home
        paths = ServerPaths(home.folder)
        self.audit = AuditLog(
            paths.audit,
            org="coordinator",
            genesis=bytes(32),
            identity=home.identity(),
            clock=self.clock,
        )
        self.register = Register(paths.register)
        self.coordinator = Coordinator(
            paths=paths,
            settings=load(ServerSettings, home.folder / FILE),
            founding=self.founding,
            identity=home.identity(),
            chain=None,
            superlink=None,
            ledger=None,
            audit=self.audit,
        )
        self.joining = Joining(self.coordinator, self.register, clock=self.clock)

    def invite(self, org=NEW, *, hours=1.0, hosts=("127.0.0.1",)):
        token = JoinToken.fresh(address="127.0.0.1:1", certificate_der=b"ca")
        expires = self.clock.now() + 3600 * hours
        self.register.invite(OrgName(org), token.hash, hosts=hosts, expires=expires)
        return token.secret.hex()

    def hospital(self, name=NEW, folder=None):
        """Keys and request of a hospital, made on its own disk."""
        home = Organisation(self.paper.folder / (folder or name))
        if not home.folder.exists():
            self.paper.folder.joinpath(folder or name).mkdir()
            key = new_key()
            home.create(
                org=OrgName(name), role="hospital", ledger_key=key, ledger_account=address_of(key)
            )
        return home

    def request(self, home, name=NEW):
        return json.loads(home.request_file(OrgName(name)).read_bytes())

    def enrol(self, token, request, address=HERE):
        return self.joining.enrol({"token": token, "request": request, "protocol": 1}, address)

    def refused(self, code, token, request, address=HERE):
        with pytest.raises(TwinwardError) as refusal:
            self.enrol(token, request, address)
        assert refusal.value.code == code, refusal.value
        return refusal.value

    def close(self):
        self.register.close()
        self.audit.close()


@pytest.fixture
def door(tmp_path):
    made = Door(tmp_path / "net")
    yield made
    made.close()


def with_csr(home, name, builder_change=lambda builder: builder, *, common_name=None, key=None):
    """A request by the hospital's real identity whose CSR says something else."""
    document = json.loads(home.request_file(OrgName(name)).read_bytes())
    tls = key or serialization.load_pem_private_key(home.tls.key.read_bytes(), password=None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or name)])
    csr = builder_change(x509.CertificateSigningRequestBuilder().subject_name(subject))
    signed = csr.sign(tls, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    keys = Document.decode(
        canonical.encode(document["payload"]["keys"]), kind="twinward/keys/v1", at="keys"
    )
    return json.loads(join_request(keys, signed).signed_by(home.identity()).encode())


def test_an_invited_hospital_gets_a_certificate_for_its_own_key_and_the_same_one_again(door):
    token, home = door.invite(), door.hospital()
    first = door.enrol(token, door.request(home))
    assert first["needed"] == 2
    assert first["endorsed"] == []
    assert first["active"] is False
    certificate = x509.load_pem_x509_certificate(
        first["admission"]["payload"]["member"]["certificate"].encode()
    )
    own = serialization.load_pem_private_key(home.tls.key.read_bytes(), password=None)
    assert certificate.public_key() == own.public_key()
    assert door.enrol(token, door.request(home))["admission"] == first["admission"]
    assert door.joining.standing({"token": token}, HERE)["needed"] == 2


def test_the_secret_is_kept_nowhere_at_the_coordinator(door):
    token = door.invite()
    door.enrol(token, door.request(door.hospital()))
    for path in door.paper.home.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert bytes.fromhex(token) not in data
            assert token.encode() not in data


def test_a_token_that_was_used_lets_no_other_identity_in(door):
    token = door.invite()
    door.enrol(token, door.request(door.hospital()))
    door.refused("TW6018", token, door.request(door.hospital(folder="impostor")))


def test_a_token_expires_unless_it_was_used_in_time(door):
    late, used = door.invite("abbey"), door.invite()
    door.enrol(used, door.request(door.hospital()))
    door.clock.at += 3601
    door.refused("TW6017", late, door.request(door.hospital("abbey"), "abbey"))
    assert door.joining.standing({"token": used}, HERE)["active"] is False


def test_a_second_invitation_for_a_name_ends_the_first(door):
    first, second = door.invite(), door.invite()
    door.refused("TW6016", first, door.request(door.hospital()))
    assert door.enrol(second, door.request(door.hospital()))


def test_whoever_guesses_waits_and_others_do_not(door):
    token, request = door.invite(), door.request(door.hospital())
    for n in range(8):
        door.refused("TW6016", f"{n:064x}", request, "ipv4:198.51.100.7")
    door.refused("TW6019", "ff" * 32, request, "ipv4:198.51.100.7")
    door.refused("TW6019", token, request, "ipv4:198.51.100.7")  # the right one as well
    assert door.enrol(token, request)


def test_after_a_minute_an_address_may_try_again_and_only_so_many_are_remembered():
    moment = [0.0]
    wrong = InVain(lambda: IdentityError("wait", help="wait"), now=lambda: moment[0])
    for _ in range(8):
        wrong.note("a")
    with pytest.raises(IdentityError):
        wrong.require_patience("a")
    moment[0] = 61.0
    wrong.require_patience("a")
    for n in range(3000):
        wrong.note(str(n))
    assert len(wrong._seen) <= 1000


@pytest.mark.parametrize("asked", [{}, {"token": 7}, {"token": "zz"}, {"token": "00"}])
def test_what_is_no_token_is_refused_and_counted(door, asked):
    with pytest.raises(TwinwardError) as refusal:
        door.joining.hello({"protocols": [1], **asked}, HERE)
    assert refusal.value.code == "TW6016"
    assert door.joining._wrong._seen[HERE]


def test_an_invitation_is_for_the_name_that_it_names(door):
    token = door.invite("abbey")
    door.refused("TW6023", token, door.request(door.hospital()))
    assert door.register.candidates() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("hub.example")]), critical=False
        ),
        lambda b: b.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        ),
        lambda b: b.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True),
    ],
    ids=["coordinator's host", "a host that was not invited", "an authority"],
)
def test_a_request_for_foreign_names_or_powers_is_refused(door, change):
    home = door.hospital()
    door.refused("TW6025", door.invite(), with_csr(home, NEW, change))
    assert door.register.candidates() == []


def test_a_request_in_another_hospitals_name_is_refused(door):
    home = door.hospital()
    door.refused("TW6025", door.invite(), with_csr(home, NEW, common_name="harbour"))


def test_a_host_of_the_invitation_may_be_asked_for(door):
    home = door.hospital()
    named = x509.SubjectAlternativeName([x509.DNSName("desk.summit.example")])
    request = with_csr(home, NEW, lambda b: b.add_extension(named, critical=False))
    answer = door.enrol(door.invite(hosts=("desk.summit.example",)), request)
    certificate = x509.load_pem_x509_certificate(
        answer["admission"]["payload"]["member"]["certificate"].encode()
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["desk.summit.example"]


def test_a_certificate_is_only_for_the_key_that_the_identity_signed(door):
    home = door.hospital()
    other = ec.generate_private_key(ec.SECP256R1())
    door.refused("TW6024", door.invite(), with_csr(home, NEW, key=other))


def test_the_keys_of_a_member_are_nobody_elses(door):
    """A founder asks to join a second time under a new name, with the keys that it has."""
    harbour = door.paper.members["harbour"]
    account = json.loads(harbour.request_file("harbour").read_bytes())
    account = account["payload"]["keys"]["payload"]["ledger_account"]
    harbour.write_request(org=OrgName(NEW), role="hospital", ledger_account=account)
    door.refused("TW6024", door.invite(), door.request(harbour))


def test_two_candidates_share_no_key(door):
    home = door.hospital()
    door.enrol(door.invite(), door.request(home))
    key = home.ledger_key()
    home.write_request(org=OrgName("abbey"), role="hospital", ledger_account=address_of(key))
    door.refused("TW6024", door.invite("abbey"), door.request(home, "abbey"))


def test_nobody_joins_as_a_second_coordinator(door):
    home = door.hospital()
    account = address_of(home.ledger_key())
    home.write_request(org=OrgName(NEW), role="coordinator", ledger_account=account)
    door.refused("TW6023", door.invite(), door.request(home))


def test_one_installation_tells_another_which_versions_it_speaks(door):
    token = door.invite()
    with pytest.raises(UsageError, match=r"version 7, 8 .* version 1"):
        door.joining.hello({"token": token, "protocols": [7, 8]}, HERE)
    assert door.joining.hello({"token": token, "protocols": [1, 8]}, HERE)["protocol"] == 1
    assert protocol.choose([1, 2, 3], ours=(1, 2)) == 2


def endorsed(door, *names, token=None):
    """The admission of a new hospital with the signatures of these members."""
    door.enrol(token or door.invite(), door.request(door.hospital()))
    (one,) = door.register.candidates()
    document = one.admission
    for name in names:
        home = door.paper.home if name == "coordinator" else door.paper.members[name]
        document = document.signed_by(home.identity())
    return document


def test_all_hospitals_but_one_let_a_candidate_in(door):
    document = endorsed(door, "harbour", "meadow")
    network = admission.admitted(door.founding, [document])
    assert [member.org for member in network.hospitals][-1] == NEW
    assert network.founders == door.founding.members
    assert network.digest == door.founding.digest


@pytest.mark.parametrize("by", [(), ("harbour",), ("harbour", "coordinator")])
def test_fewer_do_not_nor_does_the_coordinators_signature_count(door, by):
    with pytest.raises(IdentityError) as refusal:
        admission.admitted(door.founding, [endorsed(door, *by)])
    assert refusal.value.code == "TW6027"


def test_a_candidate_does_not_endorse_itself(door):
    document = endorsed(door, "harbour").signed_by(door.hospital().identity())
    with pytest.raises(IdentityError) as refusal:
        admission.admitted(door.founding, [document])
    assert refusal.value.code == "TW6027"


def test_an_endorsement_is_for_one_network_and_one_set_of_keys(door, tmp_path):
    document = endorsed(door, "harbour", "meadow")
    other = Door(tmp_path / "other")
    with pytest.raises(TwinwardError):
        admission.admitted(other.founding, [document])
    other.close()
    payload = json.loads(canonical.encode(document.payload))
    payload["member"]["keys"]["payload"]["ledger_account"] = "0x" + "ab" * 20
    with pytest.raises(IdentityError):
        admission.admitted(door.founding, [Document(document.kind, payload, document.signatures)])


def test_a_member_is_not_admitted_twice(door):
    document = endorsed(door, "harbour", "meadow")
    with pytest.raises(IdentityError) as refusal:
        admission.admitted(door.founding, [document, document])
    assert refusal.value.code == "TW2011"


@pytest.mark.parametrize(
    "text", ["", "twj1/", "twj2/h:1/a/b", "twj1/host/AAAA/BBBB", "x" * 100, "twj1/h:1/é/b"]
)
def test_what_is_no_token_is_not_repeated_in_the_message(text):
    with pytest.raises(UsageError) as refusal:
        JoinToken.parse(text)
    assert refusal.value.code == "TW6015"
    whole = JoinToken.fresh(address="[::1]:9443", certificate_der=b"ca")
    assert JoinToken.parse(f" {whole.text}\n") == whole
    with pytest.raises(UsageError) as refusal:
        JoinToken.parse(whole.text[:-1])
    assert whole.text[60:-1] not in str(refusal.value.diagnostic.as_text())
    assert whole.secret.hex() not in repr(whole)


def test_a_member_whose_certificate_expired_is_given_one_for_the_same_keys(door):
    harbour = door.paper.members["harbour"]
    token = JoinToken.fresh(address="127.0.0.1:1", certificate_der=b"ca")
    door.register.invite(
        OrgName("harbour"), token.hash, hosts=("localhost",), expires=NOW + 60, renews=True
    )
    secret, request = token.secret.hex(), door.request(harbour, "harbour")
    door.refused("TW6035", secret, door.request(door.hospital("harbour", "new"), "harbour"))
    other = ec.generate_private_key(ec.SECP256R1())
    door.refused("TW6035", secret, with_csr(harbour, "harbour", key=other))
    answer = door.enrol(secret, request)
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    own = serialization.load_pem_private_key(harbour.tls.key.read_bytes(), password=None)
    assert certificate.public_key() == own.public_key()
    assert door.enrol(secret, request)["certificate"]  # the same identity may ask again
    assert door.register.candidates() == []
