"""The verifier's canonical JSON equals the kernel's (RFC 8785), value by value."""

import json
import math
import struct
import subprocess
import sys

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import verify
from twinward import canonical
from twinward.canonical import tagged_hash
from twinward.errors import UsageError
from twinward.signing import Document, Identity, pre_authentication_encoding

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_every_value_is_spelled_as_the_kernel_spells_it(value):
    assert verify.canonical(value) == rfc8785.dumps(value)


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=500, deadline=None)
def test_every_double_is_spelled_as_the_kernel_spells_it(bits):
    value = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    if math.isfinite(value):
        assert verify.canonical(value) == rfc8785.dumps(value)
        assert float(verify.canonical(value)) == value


# RFC 8785, appendix B: IEEE 754 bits and their one spelling.
PUBLISHED = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), PUBLISHED)
def test_the_published_numbers(bits, text):
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert verify.canonical(value) == text.encode()


def test_the_published_example_of_key_order():
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(verify.canonical(dict.fromkeys(keys, 0)))) == ordered


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":1}', b'{ "a":1}', b"1.0", b"1e2", b"NaN", b"[1,]", b'"\\u0041"', b"\xff",
     b"9007199254740993", b"[" * 100_000, b'"\\ud800"', b"", b"\xef\xbb\xbf1", b"1" * 5000],
)  # fmt: skip
def test_any_other_spelling_is_refused(data):
    with pytest.raises(ValueError):
        verify.parse(data)
    with pytest.raises(UsageError):
        canonical.decode(data)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_what_was_spelled_is_read_back_as_the_kernel_reads_it(value):
    data = rfc8785.dumps(value)
    assert verify.parse(data) == canonical.decode(data)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b'["]"' + b",[" * 100_000])
def test_deep_nesting_is_refused_even_where_a_library_raised_the_recursion_limit(data):
    # Without a check before parsing this is not an exception but a crash of the process.
    program = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from ledger import verify; from twinward import canonical, errors\n"
        "data = sys.stdin.buffer.read()\n"
        "for read, no in ((verify.parse, ValueError), (canonical.decode, errors.UsageError)):\n"
        "    try: read(data)\n"
        "    except no: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=data, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"refused\nrefused\n")


@given(st.text(max_size=20), st.lists(st.binary(max_size=40), max_size=4))
def test_tagged_hashes_and_signed_bytes_are_those_of_the_kernel(tag, parts):
    assert verify.tagged_hash(tag, *parts) == tagged_hash(tag, *parts)
    message = b"".join(parts)
    assert verify.pre_authentication_encoding(tag, message) == pre_authentication_encoding(
        tag, message
    )


def test_a_document_of_the_kernel_is_read_with_its_digest_and_signatures():
    identity, other = Identity.generate(), Identity.generate()
    document = Document("twinward/x/v1", {"a": [1, 2.5, "é"]}).signed_by(identity)
    read = verify.Document.of(verify.parse(document.encode()), "twinward/x/v1")
    assert read.digest == document.digest
    assert read.is_signed_by(identity.public.raw)
    assert not read.is_signed_by(other.public.raw)
