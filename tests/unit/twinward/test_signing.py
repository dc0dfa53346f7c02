import pytest

from twinward.errors import IdentityError, UsageError
from twinward.signing import Document, Identity, PublicIdentity

KIND = "twinward/test/v1"


def test_a_document_survives_the_wire_with_its_signatures():
    one, two = Identity.generate(), Identity.generate()
    document = Document(KIND, {"a": [1, 2.5]}).signed_by(one).signed_by(two)
    read = Document.decode(document.encode(), kind=KIND)
    assert read == document
    for identity in (one, two):
        read.verify(identity.public)


def test_a_signature_over_one_kind_is_refused_as_another():
    identity = Identity.generate()
    signature = identity.sign(KIND, b"message")
    with pytest.raises(IdentityError) as refused:
        identity.public.verify("twinward/other/v1", b"message", signature)
    assert refused.value.code == "TW2002"


def test_a_changed_payload_is_refused():
    identity = Identity.generate()
    signed = Document(KIND, {"epsilon": 1.0}).signed_by(identity)
    forged = Document(KIND, {"epsilon": 10.0}, signed.signatures)
    with pytest.raises(IdentityError) as refused:
        forged.verify(identity.public)
    assert refused.value.code == "TW2002"


def test_a_missing_signature_is_named_as_missing():
    signed = Document(KIND, {}).signed_by(Identity.generate())
    with pytest.raises(IdentityError) as refused:
        signed.verify(Identity.generate().public)
    assert refused.value.code == "TW2004"


def test_a_document_of_another_kind_or_with_extra_fields_is_refused():
    document = Document(KIND, {}).signed_by(Identity.generate())
    with pytest.raises(UsageError):
        Document.decode(document.encode(), kind="twinward/other/v1")
    extended = document.encode().replace(b'{"kind"', b'{"extra":1,"kind"')
    with pytest.raises(UsageError):
        Document.decode(extended, kind=KIND)


def test_the_same_signer_cannot_appear_twice():
    identity = Identity.generate()
    document = Document(KIND, {}).signed_by(identity)
    doubled = Document(KIND, {}, document.signatures * 2)
    with pytest.raises(UsageError):
        Document.decode(doubled.encode(), kind=KIND)


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "identity.key"
    Identity.generate().save(path)
    path.chmod(0o644)
    with pytest.raises(IdentityError) as refused:
        Identity.load(path)
    assert refused.value.code == "TW2005"


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "identity.key"
    identity = Identity.generate()
    identity.save(path)
    with pytest.raises(UsageError) as refused:
        Identity.generate().save(path)
    assert refused.value.code == "TW1013"
    assert Identity.load(path).public == identity.public


def test_a_file_that_is_no_key_is_refused_by_name(tmp_path):
    path = tmp_path / "identity.key"
    path.write_text("not a key")
    path.chmod(0o600)
    with pytest.raises(IdentityError) as refused:
        Identity.load(path)
    assert refused.value.code == "TW2003"
    assert str(path) in refused.value.diagnostic.as_text()


@pytest.mark.parametrize("text", ["", "zz" * 32, "AB" * 32, "ab" * 31])
def test_an_identity_must_be_64_lower_case_hex_digits(text):
    with pytest.raises(IdentityError):
        PublicIdentity.from_hex(text)
