"""Entries have one spelling, the one of RFC 8785, and the verifier reads what the log writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import verify
from ledger.log import entry
from twinward import canonical
from twinward.errors import UsageError

topics = st.lists(st.from_regex(entry.TOPIC, fullmatch=True), min_size=1, max_size=5, unique=True)
drafts = st.builds(
    lambda kind, names, time, commitment: entry.Draft(kind, tuple(names), time, commitment),
    st.from_regex(r"[A-Za-z][A-Za-z0-9.-]{0,20}", fullmatch=True),
    topics,
    st.integers(0, 2**53 - 1),
    st.binary(min_size=32, max_size=32),
)


@given(drafts, st.integers(0, 2**40), st.data())
def test_an_entry_is_canonical_and_read_back_by_the_verifier(draft, seq, data):
    link = st.tuples(st.integers(1, 2**40), st.binary(min_size=32, max_size=32) | st.just(b""))
    links = [data.draw(link) for _ in draft.topics]
    leaf = entry.encode(draft, seq=seq, links=links)
    assert canonical.encode(entry.read(leaf)) == leaf
    read = verify._Entry.read(leaf)
    assert (read.seq, read.commitment) == (seq, draft.commitment)
    assert read.links == dict(zip(draft.topics, links, strict=True))
    for other in (
        leaf.replace(b":", b": ", 1),
        leaf + b" ",
        leaf.replace(b'"v":1', b'"v":1,"v":1'),
    ):
        with pytest.raises(ValueError):
            verify._Entry.read(other)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "two words"}, {"kind": ""}, {"topics": ()}, {"topics": ("run:1", "run:1")},
        {"topics": ("no-family",)}, {"topics": ("run:with space",)}, {"time": -1},
        {"time": 2**53}, {"commitment": b""},
    ],
)  # fmt: skip
def test_what_cannot_be_an_entry_is_refused(change):
    good = {"kind": "use", "topics": ("run:1",), "time": 1, "commitment": bytes(32)}
    entry.Draft(**good)
    with pytest.raises(UsageError) as refusal:
        entry.Draft(**{**good, **change})
    assert refusal.value.code == "TW3600"
