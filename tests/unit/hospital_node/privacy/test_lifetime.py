"""Each patient pays for what they were part of, up to their own limit, whatever files do."""

import math
import shutil
import sqlite3
import stat
import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node.privacy import tombstones
from hospital_node.privacy.lifetime import Lifetime
from twinward import gdp
from twinward.errors import BudgetError

KEY = b"k" * 32
RECORDS = [f"MRN-{number}" for number in range(10)]
EVERYONE = np.ones(10, dtype=bool)
LIMIT = gdp.mu_of(3.0, 1e-5) ** 2
ONE = gdp.mu_of(1.0, 1e-5) ** 2


def open_(tmp_path, records=RECORDS, *, key=KEY, limit=LIMIT):
    return Lifetime(tmp_path / "spend.sqlite", key=key, records=records, limit_mu2=limit)


@pytest.fixture
def lifetime(tmp_path):
    with closing(open_(tmp_path)) as lifetime:
        yield lifetime


def run(number):
    return f"{number:064x}"


def begin(lifetime, number, wanted=EVERYONE, mu2=ONE, what="training heart-risk", at_least=1):
    return lifetime.begin(run(number), what=what, mu2=mu2, wanted=wanted, at_least=at_least)


def refused(call, code):
    with pytest.raises(BudgetError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value.diagnostic


def rows(*numbers):
    mask = np.zeros(10, dtype=bool)
    mask[list(numbers)] = True
    return mask


def test_only_who_takes_part_pays(lifetime):
    begin(lifetime, 1, rows(0, 1, 2))
    begin(lifetime, 2, rows(2, 3), what="evaluation")
    spent = [lifetime.standing(row).spent_mu2 for row in range(10)]
    assert spent == pytest.approx([ONE, ONE, 2 * ONE, ONE, 0, 0, 0, 0, 0, 0])
    assert min(spent[:4]) >= ONE


def test_a_patient_is_left_out_when_it_would_pass_the_limit_and_nobody_else_is(lifetime):
    for number in range(7):
        assert begin(lifetime, number, rows(0, 1)).sum() == 2
    chosen = begin(lifetime, 7, EVERYONE)
    assert not chosen[:2].any()
    assert chosen[2:].all()
    assert lifetime.standing(0).spent_mu2 <= LIMIT
    found = refused(lambda: begin(lifetime, 8, rows(0, 1, 2), at_least=2), "TW4100")
    assert "budget does not hold another run" in found.message
    assert lifetime.standing(2).spent_mu2 == pytest.approx(ONE), "a refusal charges nobody"


def test_a_limit_of_exactly_the_price_holds_it_once(tmp_path):
    with closing(open_(tmp_path, limit=ONE)) as lifetime:
        assert begin(lifetime, 1).all()
        refused(lambda: begin(lifetime, 2), "TW4100")


@given(mu2=st.floats(1e-6, 4))
def test_a_limit_of_exactly_any_price_holds_it_once(tmp_path_factory, mu2):
    """As with a lifetime of epsilon 3 and an evaluation at epsilon 3."""
    with closing(open_(tmp_path_factory.mktemp("l"), ["A"], limit=mu2)) as lifetime:
        everyone = np.ones(1, dtype=bool)
        assert begin(lifetime, 1, everyone, mu2).all()
        refused(lambda: begin(lifetime, 2, everyone, mu2), "TW4100")


def test_two_releases_that_begin_at_once_do_not_both_get_the_last_of_it(tmp_path):
    start, outcomes = threading.Barrier(2), []

    def reserve(lifetime, number):
        start.wait()
        try:
            outcomes.append(str(begin(lifetime, number).sum()))
        except BudgetError as error:
            outcomes.append(error.code)

    with closing(open_(tmp_path, limit=1.5 * ONE)) as lifetime:
        threads = [threading.Thread(target=reserve, args=(lifetime, n)) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["10", "TW4100"]


def test_a_patients_own_lower_limit_holds_and_a_higher_one_does_not(lifetime):
    lifetime.set_limit(3, ONE / 2)
    lifetime.set_limit(4, 100.0)
    assert not begin(lifetime, 1)[3]
    assert lifetime.standing(4).limit_mu2 == pytest.approx(LIMIT)
    lifetime.set_limit(3, None)
    assert begin(lifetime, 2)[3]


def test_a_limit_lowered_during_a_run_takes_the_patient_out_of_the_next_attempt(lifetime):
    begin(lifetime, 1)
    assert lifetime.allowed(run(1), EVERYONE).all()
    lifetime.set_limit(5, ONE / 2)
    assert lifetime.allowed(run(1), EVERYONE).tolist() == (~rows(5)).tolist()
    assert lifetime.standing(5).spent_mu2 == pytest.approx(ONE), "what was charged stays"


def test_nobody_enters_a_run_that_has_begun(lifetime):
    begin(lifetime, 1, rows(0, 1))
    assert lifetime.allowed(run(1), EVERYONE).tolist() == rows(0, 1).tolist()
    assert lifetime.allowed(run(1), rows(1, 2)).tolist() == rows(1).tolist()


def test_attempts_never_made_are_given_back_to_who_paid(lifetime):
    begin(lifetime, 1, rows(0, 1))
    lifetime.end(run(1), mu2=ONE * 30 / 33)
    assert lifetime.standing(0).spent_mu2 == pytest.approx(ONE * 30 / 33)
    assert lifetime.standing(2).spent_mu2 == 0
    lifetime.end(run(1), mu2=5.0)
    assert lifetime.standing(0).spent_mu2 == pytest.approx(ONE * 30 / 33), "never more, never back"
    lifetime.end(run(9), mu2=1.0)
    refused(lambda: begin(lifetime, 1), "TW4102")


def test_the_warning_comes_at_four_fifths(tmp_path):
    with closing(open_(tmp_path, limit=1.0)) as lifetime:
        begin(lifetime, 1, rows(0), mu2=0.79)
        begin(lifetime, 2, rows(1), mu2=0.8)
        assert lifetime.nearly_spent().tolist() == rows(1).tolist()
        assert lifetime.nearly_spent(after=0.01).tolist() == rows(0, 1).tolist()
        assert [lifetime.standing(row).is_nearly_spent for row in (0, 1)] == [False, True]
        assert lifetime.most_spent(EVERYONE) == lifetime.standing(1)


def test_everything_is_there_again_after_a_crash(tmp_path):
    with closing(open_(tmp_path)) as lifetime:
        begin(lifetime, 1, rows(0, 1))
        lifetime.set_limit(7, ONE / 2)
    with closing(open_(tmp_path)) as lifetime:
        assert begin(lifetime, 1, EVERYONE).tolist() == rows(0, 1).tolist(), "as it began"
        assert lifetime.standing(0).spent_mu2 == pytest.approx(ONE)
        assert lifetime.standing(7).limit_mu2 == pytest.approx(ONE / 2)
        assert lifetime.allowed(run(1), EVERYONE).sum() == 2
        refused(lambda: begin(lifetime, 1, mu2=2 * ONE), "TW4101")


def test_an_erased_patient_who_enrols_again_still_has_paid(tmp_path):
    with closing(open_(tmp_path)) as lifetime:
        begin(lifetime, 1, rows(3))
        lifetime.set_limit(4, ONE / 2)
    without = [record for record in RECORDS if record not in {"MRN-3", "MRN-4"}]
    with closing(open_(tmp_path, without)) as lifetime:
        assert lifetime.begin(run(2), what="x", mu2=ONE, wanted=np.ones(8, dtype=bool)).all()
    again = ["MRN-4", "NEW", *without, "MRN-3"]
    with closing(open_(tmp_path, again)) as lifetime:
        assert lifetime.standing(10).spent_mu2 == pytest.approx(ONE)
        assert lifetime.standing(0).limit_mu2 == pytest.approx(ONE / 2)
        assert lifetime.standing(1).spent_mu2 == 0
        assert lifetime.standing(2).spent_mu2 == pytest.approx(ONE)


def test_the_file_names_nobody(tmp_path):
    with closing(open_(tmp_path)) as lifetime:
        begin(lifetime, 1)
    path = tmp_path / "spend.sqlite"
    data = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert not [record for record in RECORDS if record.encode() in data]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(tombstones.names(KEY, RECORDS)).isdisjoint(tombstones.names(b"x" * 32, RECORDS))


def test_with_another_key_it_is_refused_and_not_read_as_strangers(tmp_path):
    open_(tmp_path).close()
    refused(lambda: open_(tmp_path, key=b"z" * 32), "TW4311")
    open_(tmp_path).close()


def test_what_an_old_copy_has_forgotten_is_charged_to_everyone_for_ever(tmp_path):
    with closing(open_(tmp_path)) as lifetime:
        begin(lifetime, 1, rows(0))
    shutil.copy(tmp_path / "spend.sqlite", tmp_path / "old")
    with closing(open_(tmp_path)) as lifetime:
        begin(lifetime, 2, rows(1))
    for each in tmp_path.glob("spend.sqlite*"):
        each.unlink()
    shutil.copy(tmp_path / "old", tmp_path / "spend.sqlite")
    in_the_book = {run(1): ONE, run(2): ONE}
    with closing(open_(tmp_path)) as lifetime:
        for _ in range(2):
            lifetime.charge_everyone(in_the_book)
        spent = [lifetime.standing(row).spent_mu2 for row in range(10)]
        assert spent == pytest.approx([2 * ONE] + [ONE] * 9)
        refused(lambda: begin(lifetime, 2), "TW4102")
    with closing(open_(tmp_path, [*RECORDS, "LATER"])) as lifetime:
        assert lifetime.standing(10).spent_mu2 == pytest.approx(ONE)


def test_two_processes_cannot_hold_it_at_once(tmp_path):
    with closing(open_(tmp_path)):
        refused(lambda: open_(tmp_path), "TW4106")


def test_a_full_disk_charges_before_or_refuses(lifetime, monkeypatch):
    lifetime._file.connection.execute("PRAGMA max_page_count = 1")
    huge = "x" * 100_000
    refused(lambda: begin(lifetime, 1, what=huge), "TW4106")
    assert lifetime.standing(0).spent_mu2 == 0
    refused(lambda: lifetime.allowed(run(1), EVERYONE), "TW4102")


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_no_free_releases_and_no_limit_that_is_none(tmp_path, bad):
    with closing(open_(tmp_path, limit=LIMIT)) as lifetime:
        refused(lambda: begin(lifetime, 1, mu2=bad), "TW4001")
        if bad != math.inf:
            lifetime.set_limit(0, bad)
            assert not begin(lifetime, 2)[0]


def test_an_empty_table_is_no_error(tmp_path):
    with closing(open_(tmp_path, [])) as lifetime:
        nobody = np.zeros(0, dtype=bool)
        assert lifetime.begin(run(1), what="x", mu2=ONE, wanted=nobody).size == 0
        assert lifetime.most_spent(nobody) is None


def test_a_garbled_file_is_refused(tmp_path):
    (tmp_path / "spend.sqlite").write_bytes(b"nonsense" * 1000)
    refused(lambda: open_(tmp_path), "TW4106")
    with sqlite3.connect(tmp_path / "newer.sqlite") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    refused(
        lambda: Lifetime(tmp_path / "newer.sqlite", key=KEY, records=RECORDS, limit_mu2=1), "TW4107"
    )


def test_the_releases_of_one_patient_are_known_by_a_name_that_outlives_the_record(lifetime):
    begin(lifetime, 1, rows(0, 9))
    begin(lifetime, 2, rows(9), what="evaluation of heart-risk")
    lifetime.charge_everyone({run(3): ONE})
    lifetime.end(run(1), mu2=ONE / 2)

    def runs_of(record):
        (name,) = tombstones.names(KEY, [record])
        return {part.run: part.pico_mu2 for part in lifetime.parts_of(name)}

    assert runs_of("MRN-9") == {
        run(1): math.ceil(ONE / 2 * 1e12), run(2): math.ceil(ONE * 1e12),
        run(3): math.ceil(ONE * 1e12),
    }  # fmt: skip
    assert set(runs_of("MRN-0")) == {run(1), run(3)}
    assert set(runs_of("MRN-5")) == {run(3)}
    assert runs_of("nobody") == {}
