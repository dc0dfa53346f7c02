"""Named arrays as one block of bytes, and back: what is sealed in a row of twins."""

from __future__ import annotations

import json
import math

import numpy as np

from models.twin import Arrays


def packed(arrays: Arrays, *, note: str = "") -> bytes:
    """Arrays as one block: a line of JSON with names and shapes, then the numbers."""
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    head = json.dumps({"v": 1, "note": note, "shapes": shapes}).encode()
    body = [np.ascontiguousarray(array, dtype="<f8").tobytes() for array in arrays.values()]
    return b"".join([head, b"\n", *body])


def unpacked(
    body: bytes,
) -> tuple[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]], str]:
    """Arrays and note, of what ``packed`` made one block of."""
    head, _, numbers = body.partition(b"\n")
    known = json.loads(head)
    flat, at, arrays = np.frombuffer(numbers, dtype="<f8"), 0, {}
    for name, shape in known["shapes"].items():
        size = math.prod(shape)
        arrays[name] = flat[at : at + size].reshape(shape).copy()
        at += size
    return arrays, str(known["note"])
