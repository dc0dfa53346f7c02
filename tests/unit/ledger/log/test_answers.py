"""An answer is proved to be all that there is: each way to leave out, add or bend has its fault."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import verify
from ledger.log import checkpoint, entry
from ledger.log.store import Log, Sealed
from tests.simulators.ledger.logbook import FILES, Logbook, reworked
from twinward import canonical


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = Logbook(tmp_path_factory.mktemp("log"))
    for number in range(60):
        book.write(f"run:{number % 4}", f"study:{number % 3}", f"patient:{number % 11}")
        if number % 20 == 0:
            book.log.seal()
    yield book
    book.log.close()


def fault(data, **pins):
    report = verify.verify_bytes(data, **pins)
    assert not report.ok
    return report.faults[0]


def lines(data):
    return data.split(b"\n")[:-1]


def joined(lines_):
    return b"".join(line + b"\n" for line in lines_)


def edited(change):
    """A change of the parsed ``answer.json``."""

    def apply(data):
        value = canonical.decode(data)
        change(value)
        return canonical.encode(value)

    return apply


def test_an_answer_verifies_and_says_how_much_there_is(book):
    report = verify.verify_bytes(book.answer("run:1", "study:2"))
    assert report.ok, report.faults
    said = {check.name: check.detail for check in report.checks}
    assert "30 of 60 entries" in said["entries"]
    assert [c.detail for c in report.checks if c.name == "complete"] == [
        "run:1: all 15 entries",
        "study:2: all 20 entries",
    ]
    assert any("no witness co-signed" in note for note in report.notes)


def test_that_there_is_nothing_is_proved_as_well(book):
    report = verify.verify_bytes(book.answer("run:9", "patient:nobody"))
    assert report.ok, report.faults
    assert [c.detail for c in report.checks if c.name == "complete"] == [
        "run:9: all 0 entries",
        "patient:nobody: all 0 entries",
    ]


def test_the_whole_log_is_an_answer_too(book):
    report = verify.verify_bytes(book.answer())
    assert report.ok, report.faults
    assert "the whole log: 18 topics" in report.checks[-1].detail


def test_an_answer_from_an_older_checkpoint_leaves_out_what_came_later(book, tmp_path):
    own = Logbook(tmp_path)
    own.write("run:1")
    note = own.signed()
    own.write("run:1")
    own.write("run:2")
    own.log.seal()
    report = verify.verify_bytes(own.answer("run:1", "run:2", note=note))
    assert [c.detail for c in report.checks if c.name == "complete"] == [
        "run:1: all 1 entries",
        "run:2: all 0 entries",
    ]
    own.log.close()


def test_the_one_file_verifies_it_alone(book, tmp_path):
    path = tmp_path / "answer.zip"
    path.write_bytes(book.answer("run:1"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(Path(verify.__file__)), str(path), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["ok"]


# Hiding.


def truncated(data, *, keep):
    return reworked(
        data,
        leaves_txt=lambda d: joined(lines(d)[:keep]),
        bodies_txt=lambda d: joined(lines(d)[:keep]),
    )


def test_a_truncated_answer_is_detected(book):
    """Entries, rows and proof cut alike: inclusion holds, the topic's count gives it away."""
    data = truncated(book.answer("run:1"), keep=14)
    rows = book.log.entries_of("run:1", size=60)[:-1]
    nodes = [node.hex() for node in book.log.rows_proof(rows, size=60)]
    data = reworked(data, answer_json=edited(lambda a: a.update(rows=rows, nodes=nodes)))
    found = fault(data)
    assert found.code == "V116"
    assert "14 of the 15 entries" in found.message


def test_an_entry_hidden_in_the_middle_is_detected(book):
    rows = [row for row in book.log.entries_of("run:1", size=60) if row != 25]
    nodes = [node.hex() for node in book.log.rows_proof(rows, size=60)]
    data = reworked(
        book.answer("run:1"),
        answer_json=edited(lambda a: a.update(rows=rows, nodes=nodes)),
        leaves_txt=lambda d: joined(x for x in lines(d) if b'"seq":25,' not in x),
        bodies_txt=lambda d: joined(x for x in lines(d) if b'{"entry": 25}' not in x),
    )
    found = fault(data)
    assert found.code == "V117"
    assert "one is hidden" in found.message


def test_a_topic_said_to_be_empty_is_detected(book):
    """The bucket without the topic: then it is not the bucket that was signed."""

    def empty(value):
        value["rows"], value["nodes"] = [], [book.log.sealed().root.hex()]
        value["topics"][0]["bucket"] = []

    data = reworked(
        book.answer("run:1"),
        answer_json=edited(empty),
        leaves_txt=lambda d: b"",
        bodies_txt=lambda d: b"",
    )
    assert fault(data).code == "V115"


def test_an_operator_that_hides_an_entry_when_writing_is_detected(tmp_path):
    """An entry of a topic that the topic's chain does not know: the whole log gives it away."""
    book = Logbook(tmp_path)
    book.write("run:1", "patient:1")
    plain = entry.encode

    def lying(draft, *, seq, links):
        return plain(draft, seq=seq, links=[(1, b"") for _ in links])

    entry.encode = lying
    try:
        book.write("run:1", "patient:1")
    finally:
        entry.encode = plain
    assert fault(book.answer()).code == "V117"
    assert fault(book.answer("run:1")).code == "V117"
    book.log.close()


def test_a_map_that_does_not_belong_to_the_entries_is_detected(book):
    state = book.log.seal()
    note = book.signed(Sealed(state.size, state.root, bytes(32)))
    assert fault(book.answer(note=note)).code == "V115"
    assert fault(book.answer("run:1", note=note)).code == "V115"


# Two histories.


def test_two_histories_of_one_log_are_detected_by_whoever_saw_the_first(tmp_path):
    first, second = Logbook(tmp_path), None
    first.write("run:1")
    first.write("run:2")
    seen = verify.Checkpoint.parse(first.signed().text)
    second = Log(tmp_path / "other.sqlite", origin=first.origin)
    second.append([entry.Draft("use", ("run:3",), 5, bytes(32)) for _ in range(3)])
    state = second.seal()
    shown = checkpoint.checkpoint_of(first.origin, state)
    with pytest.raises(Exception, match="does not continue") as refusal:
        checkpoint.require_extends(seen, shown, second.consistency(2, 3))
    assert refusal.value.code == "TW3605"
    first.write("run:3")
    grown = checkpoint.checkpoint_of(first.origin, first.log.seal())
    checkpoint.require_extends(seen, grown, first.log.consistency(2, 3))
    other_map = checkpoint.checkpoint_of(first.origin, Sealed(3, grown.root, bytes(32)))
    with pytest.raises(Exception, match="does not continue"):
        checkpoint.require_extends(grown, other_map, [])
    second.close()
    first.log.close()


# Signatures.


def test_a_checkpoint_needs_its_own_log_s_key(book):
    assert fault(book.answer("run:1", note=book.signed(by="south"))).code == "V110"


def test_co_signatures_are_counted_and_a_bad_one_is_a_fault(book):
    note = book.cosigned(book.signed(), "south", "east")
    report = verify.verify_bytes(book.answer("run:1", note=note))
    assert report.ok
    said = next(check.detail for check in report.checks if check.name == "checkpoint")
    assert said.endswith("1 operator, 2 witnesses: east, south")
    keys = {org: book.identities[org].public for org in ("south", "east")}
    assert checkpoint.cosigned_by(note, keys) == {"south": 1_700_009_999, "east": 1_700_009_999}
    *first, (name, blob) = note.signatures
    bent = verify.Note(note.text, (*first, (name, blob[:-1] + bytes([blob[-1] ^ 1]))))
    assert fault(book.answer("run:1", note=bent)).code == "V111"
    stranger = verify.Note(note.text, (*note.signatures, ("twinward/witness/x", blob)))
    assert fault(book.answer("run:1", note=stranger)).code == "V111"


def test_a_log_does_not_witness_itself(book):
    note = book.cosigned(book.signed(), "north")
    report = verify.verify_bytes(book.answer("run:1", note=note))
    said = next(check.detail for check in report.checks if check.name == "checkpoint")
    assert "0 witnesses" in said


def test_a_signed_document_is_never_a_note(book):
    with pytest.raises(Exception, match="not the text of a note") as refusal:
        book.identities["north"].sign_note(b"DSSEv1 3 abc 2 {}")
    assert refusal.value.code == "TW3606"


def test_another_founding_file_is_refused(book, tmp_path):
    other = Logbook(tmp_path)
    data = book.answer("run:1")
    assert fault(data, founding=other.founding.document.encode()).code == "V022"
    foreign = reworked(data, founding_json=lambda d: other.founding.document.encode())
    assert fault(foreign).code == "V110"
    other.log.close()


# Bodies.


def test_an_erased_body_leaves_a_proved_entry(book):
    kept = dict(book.bodies)
    erased = book.log.entries_of("run:1", size=60)[3]
    del book.bodies[erased]
    try:
        report = verify.verify_bytes(book.answer("run:1"))
    finally:
        book.bodies = kept
    assert report.ok
    assert any("14 opened and as committed; 1 erased" in check.detail for check in report.checks)


def test_a_body_that_was_changed_is_named(book):
    data = reworked(book.answer("run:1"), bodies_txt=lambda d: d.replace(b": 25}", b": 26}"))
    found = fault(data)
    assert (found.code, found.message) == ("V114", "not the body of entry 25")


# Any byte.


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_byte_of_any_record_is_detected_and_named(book, data):
    """Also where the archive was rebuilt around the change, as an attacker would."""
    note = book.cosigned(book.signed(), "south")
    whole = data.draw(st.booleans())
    archive = book.answer(*([] if whole else ["run:1", "patient:nobody"]), note=note)
    records, _ = verify.read_archive(archive)
    name = data.draw(st.sampled_from(FILES))
    place = data.draw(st.integers(0, len(records[name]) - 1))
    bit = data.draw(st.integers(0, 7))
    content = bytearray(records[name])
    content[place] ^= 1 << bit
    report = verify.verify_bytes(verify.write_archive({**records, name: bytes(content)}))
    if name == "answer.json" and report.ok:  # the wording of the question is not signed by anyone
        before = canonical.decode(records[name])
        assert {**canonical.decode(bytes(content)), "question": before["question"]} == before
        return
    assert not report.ok
    blamed = report.faults[0]
    if name not in {"answer.json", "founding.json", "checkpoint.txt"}:
        assert blamed.record in {name, "answer.json"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_of_the_file_is_detected(book, data):
    archive = bytearray(book.answer("run:1"))
    place = data.draw(st.integers(0, len(archive) - 1))
    archive[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not verify.verify_bytes(bytes(archive)).ok
