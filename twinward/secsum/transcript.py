"""The hashes that tie a run together: members, keys, vectors, sums and the running history.

All are ``canonical.tagged_hash`` (SHA-256 over ``twinward/<tag>`` and the parts, each preceded by
its length in 8 little-endian bytes); integers inside parts are little-endian, unsigned 4 bytes.
The history runs over the *integer* sums, so machines that hold equal histories hold equal models,
whatever their floating point would have made of the way there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twinward.canonical import Hash, tagged_hash, tagged_hasher


def roster_digest(members: Iterable[bytes]) -> bytes:
    """Digest of a set of members: their raw fingerprints in ascending order."""
    return tagged_hash("secsum-a/roster/v1", b"".join(sorted(members)))


def setup_digest(offer: bytes, adverts: Sequence[bytes]) -> bytes:
    """Digest of an epoch's set-up: the offer's head, then all M2 heads in order of sender."""
    return tagged_hash("secsum-a/setup/v1", offer, *adverts)


def vector_hash(size: int) -> Hash:
    """H(y) under way: of a masked vector of ``size`` bytes, piece by piece as it travels."""
    return tagged_hasher("secsum-a/vector/v1", size=size)


def total_hash(size: int) -> Hash:
    """The hash under way of a sum as it travels, guard words included."""
    return tagged_hasher("secsum-a/total/v1", size=size)


def heads_digest(blobs: Sequence[bytes]) -> bytes:
    """Digest of all M4 heads with their signatures, in order of sender."""
    return tagged_hash("secsum-a/heads/v1", *blobs)


def history_start(run: bytes, plan: bytes) -> bytes:
    """h_0 of a run."""
    return tagged_hash("secsum-a/start/v1", run, plan)


def history_next(
    history: bytes, *, epoch: int, step: int, members: Iterable[bytes], total: bytes
) -> bytes:
    """h_s from h_{s-1}: epoch, step, the members and the digest of the sum's words."""
    return tagged_hash(
        "secsum-a/step/v1",
        history,
        epoch.to_bytes(4, "little"),
        step.to_bytes(4, "little"),
        b"".join(sorted(members)),
        total,
    )
