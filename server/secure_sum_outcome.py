"""What a run tells whoever started it: events on the way, an outcome at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twinward.errors import TrainingError
from twinward.ids import Fingerprint
from twinward.secsum.messages import Signed, fingerprint
from twinward.secsum.words import Integers


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of a run: ``epoch`` opened, ``step`` summed, attempt ``lost``, run ``closed``.

    ``milliseconds`` since the previous starting signal; ``missing``: for whom an attempt was lost.
    """

    kind: str
    epoch: int
    step: int
    members: tuple[Fingerprint, ...]
    milliseconds: float = 0.0
    missing: tuple[Fingerprint, ...] = ()
    silent: bool = False
    """Whether those for whom an attempt was lost said nothing until the deadline."""
    deadline_seconds: float = 0.0
    """After how much silence the next attempt is given up, by how long recent steps took."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its last epoch, h_T, the sums in order, everyone's signed closing.

    ``attempts`` counts starting signals given; each is a release that is charged. ``model`` is the
    digest that every member of the last epoch signed. A large sum is read from its file when it is
    looked at.
    """

    epoch: int
    members: tuple[Fingerprint, ...]
    history: bytes
    model: bytes
    attempts: int
    sums: Sequence[Integers]
    closings: dict[Fingerprint, Signed]


def names(members: Iterable[bytes]) -> tuple[Fingerprint, ...]:
    """Members as everyone else writes them."""
    return tuple(fingerprint(member) for member in members)


def unsigned(missing: Iterable[bytes]) -> TrainingError:
    """The refusal to end a run while members of its last epoch have not signed what they hold."""
    return TrainingError(
        f"the closing of {', '.join(member.hex()[:16] for member in missing)} did not come",
        code="TW6134",
        note="a release needs the signature of every member of the last epoch",
        help="start that node again before the deadline, or start a new run",
    )


def too_small(members: Iterable[Fingerprint]) -> TrainingError:
    """The refusal to go on with hospitals that hold too small a part of the patients."""
    return TrainingError(
        f"{', '.join(name[:16] for name in members)} hold too small a part of the patients",
        code="TW6239",
        note="by the sizes that hospitals declared; the plan says which part every step needs",
        help="find out why the large hospitals are missing, then start a new run",
    )


def put_back() -> TrainingError:
    """The refusal to go on with a run of which hospitals hold more than the coordinator."""
    return TrainingError(
        "hospitals have come further in this run than the coordinator's record of it",
        code="TW6248",
        note="its folder was put back from a backup that was made during the run",
        help="nothing: attempts made stay charged, and a new run takes its place",
    )
