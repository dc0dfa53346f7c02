"""What a page, a step or a batch asks is answered by an index, however many patients there are."""

import pytest

from ledger.mirror import Mirror
from tests.simulators.consent.world import DOMAIN, GENESIS, STUDY, Hospital, Patient
from twinward import canonical


def wasteful(connection, ask):
    """The statements of a call that look at a whole table, or sort what they found."""
    asked = []
    connection.set_trace_callback(asked.append)
    try:
        ask()
    finally:
        connection.set_trace_callback(None)
    reads = [sql for sql in asked if sql.lstrip().startswith(("select", "update", "delete"))]
    assert reads
    return [
        (sql, plan)
        for sql in reads
        for *_, plan in connection.execute(f"explain query plan {sql}").fetchall()
        if plan.startswith("SCAN") or plan == "USE TEMP B-TREE FOR ORDER BY"
    ]


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


def test_the_guard_notices_a_question_without_an_index(hospital):
    store = hospital.vault.store
    assert wasteful(store._connection, lambda: store.rows("select 1 from grants where grade = ''"))


def test_what_the_desk_and_its_pages_ask(hospital):
    patient = Patient(hospital)
    body = patient.body(patient.grant())
    about = canonical.encode({"code": patient.letter.code.hex(), "study": STUDY.id32.hex()})
    calls = (
        lambda: hospital.desk.grant(body),
        lambda: hospital.desk.show(about),
        hospital.relay.push_grants,
        lambda: patient.withdraws(nonce=1),
        lambda: hospital.desk.show(about),
        lambda: hospital.vault.subjects_of(patient.record),
    )
    for call in calls:
        assert wasteful(hospital.vault.store._connection, call) == []


def test_what_a_step_asks_and_what_a_whole_cohort_reads_page_by_page(hospital):
    cohort, patient = hospital.cohort(), Patient(hospital)
    cohort.mask()
    patient.grants()
    hospital.push()
    assert wasteful(hospital.vault.store._connection, cohort.mask) == []
    everyone = lambda: list(hospital.vault.newest_of_all(STUDY.id32))  # noqa: E731
    assert wasteful(hospital.vault.store._connection, everyone) == []


def test_what_a_step_asks_of_the_mirror(tmp_path):
    mirror = Mirror(tmp_path / "m.sqlite", rpc=None, genesis=GENESIS, contract=DOMAIN.contract)
    for ask in (
        lambda: mirror.block,
        lambda: mirror.head_at(7),
        lambda: mirror.changes(7),
        lambda: mirror.slot(STUDY.id32, b"s" * 20),
    ):
        reading = mirror._reading
        found = [one for one in wasteful(reading, ask) if "cursor" not in one[0]]
        assert found == []
    mirror.close()
