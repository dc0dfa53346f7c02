"""Gaussian noise from a cryptographic generator, with tails that do not end.

Box-Muller in float64 over an AES-256-CTR keystream. Every call takes a fresh key from the
operating system, so a copied or restored virtual machine does not repeat a stream, and the key is
gone when the call returns. A uniform number that is small, and so has few random digits, gets 64
more bits, as often as needed: the radius then has 53 random bits at every size and no value is out
of reach, while a plain 53-bit uniform stops at 8.6 standard deviations and thins out before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.keystream import KEY_BYTES, Keystream

Entropy = Callable[[int], bytes]
"""Gives that many bytes nobody can predict."""

ERROR_ULPS = 16.0
"""Bound on the float64 error of a draw, in units of 2^-53 of its radius: logarithm, root, tangent
and products err by less than 12 together, scaling and adding to a value by 2 more."""

_PAIRS_AT_ONCE = 2**12
"""Blocks of 32 KB stay in the processor's cache; 46,000 draws take half the time of one block."""
_FEW_BITS = 2.0**52


def gaussian(
    size: int, *, sd: float, entropy_for_tests_only: Entropy | None = None
) -> NDArray[np.float64]:
    """``size`` independent draws from N(0, sd^2), from a key used for this call alone.

    ``entropy_for_tests_only`` replaces the operating system: whoever passes it in production
    publishes the patients' gradients.
    """
    entropy = entropy_for_tests_only or os.urandom
    stream = Keystream(entropy(KEY_BYTES))
    draws = np.empty(size + size % 2)
    for start in range(0, draws.size, 2 * _PAIRS_AT_ONCE):
        _fill(draws[start : start + 2 * _PAIRS_AT_ONCE], sd, stream)
    return draws[:size]


def _fill(block: NDArray[np.float64], sd: float, stream: Keystream) -> None:
    """Box-Muller by the half-angle: numpy vectorises the tangent, not sine and cosine.

    With t the tangent of half the angle, the cosine is 2 / (1 + t^2) - 1 and the sine is t times
    2 / (1 + t^2). Few passes over the numbers: for a small model each costs more than its numbers.
    """
    pairs = block.size // 2
    words = stream.words(block.size)
    radius = np.log(fine_uniforms(words[:pairs], stream))
    radius *= -2.0
    np.sqrt(radius, out=radius)
    radius *= sd
    tangent = words[pairs:].view("<i8").astype(np.float64)
    tangent *= math.pi * 2.0**-64
    np.tan(tangent, out=tangent)
    first, second = block[:pairs], block[pairs:]
    np.multiply(tangent, tangent, out=first)
    first += 1.0
    np.divide(radius, first, out=first)
    first *= 2.0
    np.multiply(first, tangent, out=second)
    first -= radius


def fine_uniforms(words: NDArray[np.uint64], stream: Keystream) -> NDArray[np.float64]:
    """Uniform numbers on (0, 1] from these words, and more of the stream for the small ones.

    All have 53 random significant bits, however small they are.
    """
    unit = 2.0**-64
    uniforms = words.astype(np.float64)
    uniforms *= unit
    if uniforms.min(initial=1.0) >= _FEW_BITS * unit:
        return uniforms
    small = np.flatnonzero(uniforms < _FEW_BITS * unit)
    while small.size:
        unit *= 2.0**-64
        uniforms[small] += stream.words(small.size) * unit
        small = small[uniforms[small] < _FEW_BITS * unit]
    return uniforms
