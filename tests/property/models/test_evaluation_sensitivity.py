"""One patient moves the vector that is noised by at most 1, whatever is in the record."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models import evaluation

score = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1))
label = st.one_of(st.sampled_from([0.0, 1.0, np.nan]), st.floats())


@given(people=st.lists(st.tuples(score, label), min_size=1, max_size=30), bins=st.integers(2, 64))
def test_leaving_out_one_patient_changes_one_count_by_at_most_one(people, bins):
    scores, labels = (np.array(column) for column in zip(*people, strict=True))
    everyone = evaluation.to_vector(evaluation.binned(scores, labels, bins=bins))
    for i in range(len(people)):
        rest = np.arange(len(people)) != i
        without = evaluation.to_vector(evaluation.binned(scores[rest], labels[rest], bins=bins))
        assert np.linalg.norm(everyone - without) <= 1.0
        assert (everyone - without >= 0).all()
