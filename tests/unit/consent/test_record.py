import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from consent import signature
from consent.record import DAY, Domain, Grant, Withdrawal, midnight_before, require_signed
from twinward.errors import ConsentError, UsageError

KEY = bytes.fromhex("4c" * 32)
DOMAIN = Domain(chain_id=1337, contract=b"\x11" * 20, genesis=b"\x22" * 32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

bytes32 = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
seconds = st.integers(0, 2**53 - 1)
grants = st.builds(
    Grant,
    network=bytes32,
    study=bytes32,
    subject=addresses,
    purposes=st.integers(0, 2**128 - 1),
    purpose_table=bytes32,
    scope=bytes32,
    terms_shown=bytes32,
    not_before=seconds,
    expiry=seconds,
    nonce=st.integers(0, 2**32 - 1),
    submit_by=seconds,
)
withdrawals = st.builds(
    Withdrawal,
    network=bytes32,
    study=bytes32,
    subject=addresses,
    nonce=st.integers(0, 2**32 - 1),
    signed_at=seconds,
)
domains = st.builds(Domain, chain_id=st.integers(1, 2**64), contract=addresses, genesis=bytes32)


def mine(**changes):
    fields = {
        "network": DOMAIN.genesis,
        "study": b"\x03" * 32,
        "subject": signature.address_of(KEY),
        "nonce": 4,
        "signed_at": 5,
    }
    return Withdrawal(**(fields | changes))


@given(value=grants | withdrawals, domain=domains)
def test_digest_and_signature_are_those_of_eth_account(value, domain):
    message = encode_typed_data(
        {
            "name": "Twinward Consent",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": "0x" + domain.contract.hex(),
            "salt": domain.genesis,
        },
        {value.NAME: [{"name": name, "type": kind} for kind, name in value.FIELDS]},
        {
            name: "0x" + given.hex() if kind == "address" else given
            for (kind, name), given in zip(value.FIELDS, value.as_tuple(), strict=True)
        },
    )
    theirs = Account.from_key(KEY).sign_message(message)
    assert value.digest(domain) == bytes(theirs.message_hash)
    assert value.sign(KEY, domain) == bytes(theirs.signature)
    assert signature.recover(value.digest(domain), theirs.signature) == signature.address_of(KEY)


@given(value=grants | withdrawals)
def test_json_gives_back_the_same_record(value):
    assert type(value).from_json(value.to_json()) == value


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "4"},
        {"nonce": True},
        {"nonce": 2**32},
        {"nonce": 1.0},
        {"subject": "AB" * 20},
        {"subject": "ab" * 21},
        {"study": None},
        {"more": 1},
    ],
)
def test_a_record_in_another_spelling_is_refused(change):
    with pytest.raises(UsageError) as error:
        Withdrawal.from_json(mine().to_json() | change)
    assert error.value.code == "TW3003"


def test_a_signature_with_a_high_s_is_refused():
    value = mine()
    good = value.sign(KEY, DOMAIN)
    twin = (
        good[:32] + (ORDER - int.from_bytes(good[32:64])).to_bytes(32) + bytes([27 + 28 - good[64]])
    )
    with pytest.raises(ConsentError) as error:
        require_signed(value, twin, domain=DOMAIN)
    assert error.value.code == "TW3002"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s[:64] + bytes([s[64] - 27]),
        lambda s: s[:64] + b"\x1d",
        lambda s: s[:64],
        lambda s: s + b"\0",
        lambda s: bytes(32) + s[32:],
        lambda s: ORDER.to_bytes(32) + s[32:],
        lambda s: s[:32] + bytes(32) + s[64:],
        lambda _: b"",
        lambda _: bytes(65),
    ],
)
def test_a_signature_in_another_form_is_refused(spoil):
    value = mine()
    with pytest.raises(ConsentError) as error:
        require_signed(value, spoil(value.sign(KEY, DOMAIN)), domain=DOMAIN)
    assert error.value.code == "TW3002"


def test_nobody_signs_for_the_zero_address():
    value = mine(subject=bytes(20))
    with pytest.raises(ConsentError) as error:
        require_signed(value, value.sign(KEY, DOMAIN), domain=DOMAIN)
    assert error.value.code == "TW3005"


@given(moment=st.floats(0, 4e9))
def test_an_expiry_is_rounded_down_to_a_utc_midnight(moment):
    midnight = midnight_before(moment)
    assert midnight % DAY == 0
    assert midnight <= moment < midnight + DAY
