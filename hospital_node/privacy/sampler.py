"""Who is in an attempt: everyone who permits it, or a secret Poisson sample of them.

Sampling lowers the price only if each patient is drawn independently, with the stated chance, and
nobody learns who was drawn. So each call takes a fresh key from the operating system, draws for
every row of the table (its time says nothing about who permits what), and the sample leaves this
folder only as a sum. Batches of a fixed size, shuffled passes over the data and the like have other
prices and are not offered.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.keystream import KEY_BYTES, Keystream
from hospital_node.privacy.noise import Entropy

Mask = NDArray[np.bool_]


def draw(permitted: Mask, *, rate: float, entropy_for_tests_only: Entropy | None = None) -> Mask:
    """Each permitted patient with chance ``rate``, independently; all of them at rate 1.

    The chance is ``rate`` rounded down to a multiple of 2^-64, so never more than was paid for.
    ``entropy_for_tests_only``: see ``noise.gaussian``.
    """
    if rate >= 1.0:
        return permitted
    entropy = entropy_for_tests_only or os.urandom
    words = Keystream(entropy(KEY_BYTES)).words(permitted.size)
    return permitted & (words < np.uint64(int(rate * 2.0**64)))
