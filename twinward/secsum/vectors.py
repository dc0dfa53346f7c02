"""Vectors on a stream: cut into frames, and taken in piece by piece on the other side.

Pieces are unsigned: the signed head, which comes with the last one, holds the digest of all. Until
then nothing that came may be used for anything but adding and hashing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import overload

import numpy as np

from twinward.canonical import Hash
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import pack
from twinward.secsum.messages import Kind, Signed
from twinward.secsum.words import PIECE_BYTES, WordFormat, Words, wrong_length

_REMEMBERED = 8


def data_frame(index: int, data: bytes) -> Frame:
    """A piece, but not the last one, of a vector."""
    return Frame(kind=Kind.DATA, index=index, data=data)


class VectorFrames(Sequence[Frame]):
    """The frames of a finished vector, made when they are looked at.

    The last few are remembered: readers who go along together share them.

    Args:
        kind: MASKED or SUM.
        signed: The head of that kind, signed over the digest of the data.
        data: The words.
        heads: Others' heads that go with it.
    """

    def __init__(
        self, kind: Kind, signed: Signed, data: memoryview, *, heads: Sequence[bytes] = ()
    ) -> None:
        self._kind = kind
        self._signed = signed
        self._data = data
        self._heads = heads
        self._frame = lru_cache(maxsize=_REMEMBERED)(self._make)

    def __len__(self) -> int:
        """In how many frames the vector travels."""
        return (len(self._data) + PIECE_BYTES - 1) // PIECE_BYTES

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        """One frame, or several."""
        if isinstance(index, slice):
            return [self._frame(i) for i in range(*index.indices(len(self)))]
        return self._frame(range(len(self))[index])

    def _make(self, index: int) -> Frame:
        piece = bytes(self._data[index * PIECE_BYTES : (index + 1) * PIECE_BYTES])
        if index < len(self) - 1:
            return data_frame(index, piece)
        return pack(self._kind, self._signed, data=piece, heads=self._heads)


class Arrival:
    """One vector on its way in: exactly the next piece is taken, and hashed.

    Args:
        words: The format that was agreed.
        digest: The hash of the whole, not yet begun.
    """

    def __init__(self, words: WordFormat, digest: Hash) -> None:
        self._words = words
        self._hash = digest
        self._index = 0

    def take(self, frame: Frame) -> tuple[int, Words]:
        """Where the words of this piece stand in the vector, and the words.

        Raises:
            TrainingError: TW6104, not the next piece, or of another size.
        """
        form, index = self._words, self._index
        if index == form.pieces:
            raise wrong_length("goes on after its end")
        is_last = index == form.pieces - 1
        expected = form.data_bytes - index * PIECE_BYTES if is_last else PIECE_BYTES
        if (frame.kind != Kind.DATA) != is_last or (not is_last and frame.index != index):
            raise wrong_length(f"came out of order at piece {index + 1} of {form.pieces}")
        data = frame.data  # protobuf copies at every look
        if len(data) != expected:
            raise wrong_length(f"has a piece of {len(data)} bytes instead of {expected}")
        self._hash.update(data)
        self._index += 1
        return index * form.block, np.frombuffer(data, dtype=form.dtype)

    def digest(self) -> bytes:
        """Digest of all pieces; of a vector that is not complete it is nobody's."""
        return self._hash.digest()
