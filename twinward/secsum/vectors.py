"""Vectors on a stream: cut into frames, and taken in piece by piece on the other side.

Pieces are unsigned: the signed head, which comes with the last one, holds the digest of all. Until
then nothing that came may be used for anything but adding and hashing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from twinward.canonical import Hash
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import pack
from twinward.secsum.messages import Kind, Signed
from twinward.secsum.words import PIECE_BYTES, WordFormat, Words, wrong_length


def data_frame(index: int, data: bytes) -> Frame:
    """A piece, but not the last one, of a vector."""
    return Frame(kind=Kind.DATA, index=index, data=data)


def vector_frames(
    kind: Kind, signed: Signed, data: memoryview, *, heads: Sequence[bytes] = ()
) -> Iterator[Frame]:
    """The frames of a finished vector under a head that is already signed."""
    last = (len(data) - 1) // PIECE_BYTES
    pieces = (bytes(data[i * PIECE_BYTES : (i + 1) * PIECE_BYTES]) for i in range(last + 1))
    for index, piece in enumerate(pieces):
        if index < last:
            yield data_frame(index, piece)
        else:
            yield pack(kind, signed, data=piece, heads=heads)


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
        if len(frame.data) != expected:
            raise wrong_length(f"has a piece of {len(frame.data)} bytes instead of {expected}")
        self._hash.update(frame.data)
        self._index += 1
        return index * form.block, np.frombuffer(frame.data, dtype=form.dtype)

    def digest(self) -> bytes:
        """Digest of all pieces; of a vector that is not complete it is nobody's."""
        return self._hash.digest()
