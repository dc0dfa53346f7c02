"""What an auditor of some studies may see, and the topics that prove it complete.

In scope are the membership, the anchors of audit logs, what hospitals state of themselves, the
consents of those studies, and every record that descends from them. A proof for such an auditor
holds the topics of exactly these, never a topic that entries of other studies share: what it shows
of the rest are counts and hashes (how long the log is, how many entries a shared topic had before).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ledger.events import Event

Studies = Mapping[bytes, bytes]
"""Studies in scope: the digest of each one's record, and its number in consents."""

_RECORDED, _RESERVED = "Provenance.Recorded", "Provenance.Reserved"
_CONTRACTS = {"Membership", "AuditAnchor"}
_OF_MEMBERS = {"Provenance.FenceRaised", "Provenance.CapStated"}
_OF_CONSENTS = ("kind:Consent.", "study:", "subject:")


def in_scope(events: Iterable[Event], *, studies: Studies) -> Iterator[Event]:
    """The events that may be seen; what is not understood is left out.

    Args:
        events: In the order of the ledger.
        studies: In scope.
    """
    numbers, digests = set(studies.values()), set(studies)
    for event in events:
        values = event.values
        if event.kind == _RECORDED and digests.intersection(event.parts("parents")):
            digests.add(event.raw("digest"))
        about = values.get("plan") if event.kind == _RESERVED else values.get("digest")
        if (
            _is_everyones(event.contract, event.kind)
            or values.get("study") in numbers
            or (event.contract == "Provenance" and about in digests)
        ):
            yield event


def topics_in_scope(
    wanted: Sequence[str], *, events: Iterable[Event], studies: Studies
) -> tuple[str, ...]:
    """The topics that hold what can be seen of these, and nothing else.

    Records are found by digest, one generation after the other; consents by the number of their
    study, not by subject: that a subject is of another study is not to be told.

    Args:
        wanted: Topics that an answer over the whole network is a function of.
        events: In the order of the ledger; those of the result are enough.
        studies: In scope.
    """
    everyones = [topic for topic in wanted if _is_everyones(*_kind(topic))]
    digests = dict.fromkeys(studies)
    for event in events:
        if event.kind == _RECORDED and digests.keys() & set(event.parts("parents")):
            digests[event.raw("digest")] = None
    consents = any(topic.startswith(_OF_CONSENTS) for topic in wanted)
    return (
        *everyones,
        *(f"digest:{digest.hex()}" for digest in digests),
        *(f"study:{number.hex()}" for number in studies.values() if consents),
    )


def _kind(topic: str) -> tuple[str, str]:
    """Contract and kind of a topic ``kind:Contract.Event``; empty for others."""
    kind = topic.removeprefix("kind:") if topic.startswith("kind:") else ""
    return kind.partition(".")[0], kind


def _is_everyones(contract: str, kind: str) -> bool:
    return contract in _CONTRACTS or kind in _OF_MEMBERS
