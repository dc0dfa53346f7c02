"""What a contract says is what a history gives back, for any values; anything else is refused."""

import pytest
from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from ledger.deployed import CONTRACTS, Addresses
from ledger.events import Decoder, Event, forms
from ledger.history import History
from twinward.errors import LedgerError

ADDRESSES = Addresses(*(f"0x{n:040x}" for n in range(1, len(CONTRACTS) + 1)))
BY_NAME = dict(zip(CONTRACTS, ADDRESSES, strict=True))
BYTES32 = st.binary(min_size=32, max_size=32)


def values_of(kind):
    if kind.startswith("uint"):
        return st.integers(0, 2 ** int(kind[4:]) - 1)
    return {
        "address": st.binary(min_size=20, max_size=20),
        "bytes32": BYTES32,
        "bool": st.integers(0, 1),
        "bytes": st.binary(max_size=100),
        "bytes32[]": st.lists(BYTES32, max_size=4).map(tuple),
    }[kind]


def encoded(form, values):
    """The log of an event, by a foreign encoder."""

    def foreign(name, kind):
        value = values[name]
        return f"0x{value.hex()}" if kind == "address" else bool(value) if kind == "bool" else value

    topics = [encode([kind], [foreign(name, kind)]) for name, kind in form.indexed]
    plain = [(kind, foreign(name, kind)) for name, kind in form.plain]
    data = encode([kind for kind, _ in plain], [value for _, value in plain])
    return {
        "address": BY_NAME[form.contract],
        "topics": ["0x" + topic.hex() for topic in (form.topic, *topics)],
        "data": "0x" + data.hex(),
    }


@st.composite
def told(draw):
    form = draw(st.sampled_from(forms()))
    return form, {name: draw(values_of(form.types[name])) for name in form.names}


@given(told())
def test_every_event_survives_decoding_and_keeping(what):
    form, values = what
    found, read = Decoder(ADDRESSES).read(encoded(form, values))
    assert (found, read) == (form, values)
    event = Event(1, 7, 0, 1_790_000_000, bytes(32), form.contract, form.name, read)
    history = History.of([event], genesis=bytes(32), block=7, time=1_790_000_000)
    assert list(history.events()) == [event]
    history.close()


@given(told(), st.data())
def test_a_log_of_another_length_or_with_dirt_in_it_is_refused(what, data):
    form, values = what
    log = encoded(form, values)
    payload = bytes.fromhex(log["data"][2:])
    if data.draw(st.booleans()) and payload:
        payload = payload[: data.draw(st.integers(0, len(payload) - 1))]
    else:
        payload += b"\0" * data.draw(st.integers(1, 64))
    with pytest.raises(LedgerError) as refusal:
        Decoder(ADDRESSES).read({**log, "data": "0x" + payload.hex()})
    assert refusal.value.code == "TW3701"
