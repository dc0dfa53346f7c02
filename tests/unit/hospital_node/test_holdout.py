"""Who is kept out is nobody's choice, stays the same, and says nothing about the patient."""

import numpy as np
import pytest

from hospital_node import holdout
from twinward.ids import RecordNumber
from twinward.signing import Identity

RECORDS = [RecordNumber(f"basel-{number:04d}") for number in range(2000)]
KEY = bytes(32)


def test_the_share_is_kept_out_and_the_rest_trained_on():
    places = holdout.places(KEY, RECORDS)
    out = holdout.within(places, holdout.held_out(0.2))
    assert out.mean() == pytest.approx(0.2, abs=0.04)
    assert (out ^ holdout.within(places, holdout.trained(0.2))).all()


def test_a_share_of_zero_keeps_nobody_out():
    places = holdout.places(KEY, RECORDS)
    assert not holdout.within(places, holdout.held_out(0.0)).any()
    assert holdout.within(places, holdout.trained(0.0)).all()


def test_the_same_patients_are_out_in_every_run_whoever_else_is_there():
    places = holdout.places(KEY, RECORDS)
    fewer = holdout.places(KEY, RECORDS[500:])
    assert np.array_equal(places[500:], fewer)
    more = holdout.within(places, holdout.held_out(0.3))
    assert more[holdout.within(places, holdout.held_out(0.2))].all()


def test_another_hospitals_key_gives_other_places():
    mine, theirs = (holdout.places(bytes([hospital]) * 32, RECORDS) for hospital in (1, 2))
    assert abs(np.corrcoef(mine, theirs)[0, 1]) < 0.1


def test_the_key_lives_as_long_as_the_identity_and_is_not_it(tmp_path):
    identity = Identity.generate()
    identity.save(tmp_path / "key")
    again = Identity.load(tmp_path / "key")
    assert identity.derive(holdout.PURPOSE) == again.derive(holdout.PURPOSE)
    assert identity.derive(holdout.PURPOSE) != identity.derive("twinward/other/v1")
    assert len(identity.derive(holdout.PURPOSE)) == 32
