"""Integers as they travel: little-endian words, 128 zero guard bits, in pieces of 512 kB.

All pieces but the last are exactly 512 kB and go ahead in DATA frames, numbered from 0; the last
one travels with the signed head. A vector of one piece is one frame. *Guard words* follow every
vector: if masks failed to cancel, they come out zero with probability 2^-128.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinward.errors import TrainingError, UsageError

GUARD_BITS = 128
PIECE_BYTES = 512 * 1024
MAX_DIMENSION = 1 << 27

Words = NDArray[np.unsignedinteger[Any]]
Integers = NDArray[np.signedinteger[Any]]
"""A sum: signed words, of 32 or 64 bits as they travelled."""

Contribution = NDArray[np.int64]
"""What a member puts in, or a block of it."""


@dataclass(frozen=True, slots=True)
class WordFormat:
    """Words of 32 or 64 bits, ``dimension`` of them and the guard words.

    Args:
        bits: 32 or 64. Sums must stay within +-2^(bits-1).
        dimension: Coordinates of a vector, at most 2^27.

    Raises:
        UsageError: TW6102.
    """

    bits: int
    dimension: int

    def __post_init__(self) -> None:
        if self.bits not in {32, 64} or not 0 < self.dimension <= MAX_DIMENSION:
            raise UsageError(
                f"secure sum cannot carry {self.dimension} words of {self.bits} bits",
                code="TW6102",
                help=f"use words of 32 or 64 bits and vectors of at most {MAX_DIMENSION:,}",
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned little-endian word."""
        return np.dtype("<u4" if self.bits == 32 else "<u8")

    @property
    def count(self) -> int:
        """Words on the wire, guard words included."""
        return self.dimension + GUARD_BITS // self.bits

    @property
    def data_bytes(self) -> int:
        """Length of a vector on the wire."""
        return self.count * self.bits // 8

    @property
    def pieces(self) -> int:
        """In how many frames a vector travels."""
        return -(-self.data_bytes // PIECE_BYTES)

    @property
    def block(self) -> int:
        """How many words a full piece holds."""
        return PIECE_BYTES * 8 // self.bits

    def pieces_of(self, vector: Contribution | Iterator[Contribution]) -> Iterator[Words]:
        """The words of each piece, guard words zero.

        ``vector`` is whole, or comes as consecutive blocks of ``block`` integers, the last one
        shorter: so a large vector need never exist as a whole.

        Raises:
            TrainingError: TW6103, another shape or integers that do not fit.
        """
        if isinstance(vector, np.ndarray):
            self._require(vector, self.dimension)
        for start in range(0, self.count, self.block):
            expected = max(0, min(self.block, self.dimension - start))
            if isinstance(vector, np.ndarray):
                block = vector[start : start + expected]
            else:
                block = next(vector, _NOTHING) if expected else _NOTHING
            self._require(block, expected)
            words = np.empty(min(self.block, self.count - start), dtype=self.dtype)
            np.copyto(words[:expected], block, casting="unsafe")  # modulo 2^bits
            words[expected:] = 0
            yield words

    def _require(self, block: Contribution, size: int) -> None:
        limit = 1 << (self.bits - 1)
        if block.dtype != np.int64 or block.shape != (size,):
            raise TrainingError(
                f"a contribution must be {self.dimension} integers of 64 bits",
                code="TW6103",
                help="this is a fault of the mechanism that made it; the step was not completed",
            )
        if self.bits < 64 and size and not (-limit <= block.min() and block.max() < limit):
            raise TrainingError(
                f"a contribution does not fit into words of {self.bits} bits",
                code="TW6103",
                help="the plan's grid or word size is wrong; the step was not completed",
            )

    def from_bytes(self, data: bytes | memoryview) -> Words:
        """Words as they travelled.

        Raises:
            TrainingError: TW6104, another length.
        """
        if len(data) != self.data_bytes:
            raise wrong_length(f"has {len(data)} bytes instead of {self.data_bytes}")
        return np.frombuffer(data, dtype=self.dtype)

    def to_integers(self, words: Words, *, limit: int) -> Integers:
        """The integers of a sum whose masks have cancelled and which is within +-limit.

        They are the words themselves, seen as signed: nothing is copied.

        Raises:
            TrainingError: TW6105, guard words are not zero; TW6106, out of range.
        """
        if bool(np.any(words[self.dimension :])):
            raise TrainingError(
                "a sum was refused: its guard words are not zero, so the masks did not cancel",
                code="TW6105",
                note="a vector is missing, was altered, or belongs to another step or model",
                help="nothing was applied; ask the coordinator for the transcript of this step",
            )
        signed = words[: self.dimension].view(self.dtype.str.replace("u", "i"))
        if not (-limit <= int(signed.min()) and int(signed.max()) <= limit):
            raise TrainingError(
                "a sum was refused: it is outside the public range of the plan",
                code="TW6106",
                note="with the members' vectors as evidence an auditor can add them again",
                help="nothing was applied; ask the coordinator for the transcript of this step",
            )
        return signed


_NOTHING: Contribution = np.zeros(0, dtype=np.int64)


def wrong_length(why: str) -> TrainingError:
    """The refusal of a vector that does not have the pieces of its format."""
    return TrainingError(
        f"a secure-sum vector {why}",
        code="TW6104",
        help="check that every member runs the same version of Twinward",
    )
