"""Commands draw the copies of a patient by chance; in these tests by the same chance every time."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _same_dice(monkeypatch):
    plain = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed=20261121: plain(seed))
