"""What patients are mailed about: looked up in what the node keeps anyway, then handed to a relay.

A process of its own (`twinward portal notify`): neither the desk nor a run ever waits for a mail.
Whatever happened stands in the audit log, with the last words on withdrawals, or as a result; so
nothing that happened while this process was down is lost. What leaves: see `consent.portal.mail`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from consent.completions import Completions
from consent.notice_desk import no_mails
from consent.notices import Mail, Notices, Reader
from consent.portal import results, settings
from consent.portal.mail import AddressRefused, Relay, RelayFailed
from consent.portal.sealed_keys import state_of
from consent.withdrawals import Withdrawals
from hospital_node import audit_log, egress, patient_view
from hospital_node.audit_log import NodeAudit
from hospital_node.consents import open_vault
from hospital_node.paths import NodePaths
from twinward.clock import Clock
from twinward.ids import RecordNumber, study_id
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.signing import Identity

PURPOSE = "twinward/notices/v1"
"""Of the key that addresses are sealed under: it comes from the site's identity."""
Event = tuple[str, str, float]
"""Kind, a name of its own, and when it was."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one look did.

    Attributes:
        readers: Patients who want mails.
        new: Events that are to be mailed.
        sent: Mails that the relay took.
        later: Mails that it did not take now.
        refused: Addresses that it refused for good.
    """

    readers: int
    new: int
    sent: int
    later: int
    refused: int


def open_notices(folder: Path, identity: Identity) -> Notices:
    """Open the store of mails of a node's folder, or make it.

    Raises:
        IdentityError: TW3020. ConsentError: TW3021, TW3022.
    """
    return Notices.open(NodePaths(folder).notices, key=identity.derive(PURPOSE))


def for_desk(folder: Path, identity: Identity) -> Notices | None:
    """The store for the desk; None where no relay is set: then no mails are offered.

    Raises:
        UsageError: TW1051, TW1052. IdentityError: TW3020. ConsentError: TW3021, TW3022.
    """
    return None if settings.of(folder).mail is None else open_notices(folder, identity)


def look(folder: Path, *, hospital: str, clock: Clock) -> Round:
    """Find what is new for whoever wants mails, and hand over every mail that is due.

    Raises:
        ConsentError: TW8173, no relay is set; TW8174, its authority cannot be read.
        UsageError: TW1014, TW1051, TW1052, it or the file of the password is wrong.
        TwinwardError: A store of the node cannot be used.
    """
    found = settings.of(folder)
    if found.mail is None:
        raise no_mails()
    relay = Relay(found.mail, folder=folder, hospital=hospital, drafts=found.drafts)
    with closing(open_notices(folder, Organisation(folder).identity())) as notices:
        readers = notices.readers()
        new = _collect(folder, notices, readers, clock=clock) if readers else 0
        sent = later = refused = 0
        for mail in notices.due(int(clock.now())):
            try:
                _deliver(folder, relay, mail, to=found.mail.relay, clock=clock)
            except AddressRefused:
                notices.refuse(mail)
                refused += 1
            except RelayFailed as error:
                notices.later(mail, now=int(clock.now()))
                log().warning("mail-later", code=error.code, note=error.diagnostic.note)
                later += 1
            else:
                notices.sent(mail)
                sent += 1
    return Round(len(readers), new, sent, later, refused)


def _deliver(folder: Path, relay: Relay, mail: Mail, *, to: str, clock: Clock) -> None:
    message = relay.written(mail, now=clock.now())
    egress.note(folder, "mail", "notice", to=to, size=len(message.as_bytes()), clock=clock)
    relay.send(message)


def _collect(folder: Path, notices: Notices, readers: list[Reader], *, clock: Clock) -> int:
    vault, completions = open_vault(folder), Completions(NodePaths(folder).completions)
    with audit_log.opened(folder) as audit, closing(vault.store), closing(completions.store):
        size = audit.log.log.size
        withdrawals = Withdrawals(vault)
        new = 0
        for reader in readers:
            events = [
                *_in_the_log(audit, reader, size=size),
                *_last_words(withdrawals, completions, vault.subjects_of(reader.record), reader),
                *_results(state_of(folder), audit, reader.record),
            ]
            new += notices.tell(reader, events, seen=size, now=int(clock.now()))
    return new


def _in_the_log(audit: NodeAudit, reader: Reader, *, size: int) -> Iterator[Event]:
    """First uses in a study, and whatever somebody answered for the patient."""
    for seq, line in patient_view.lines(audit.log, reader.record, since=reader.seen, size=size):
        if line.kind == "disclosure":
            yield "study", str(line.study), line.at
        elif line.kind.startswith("mandate-"):
            yield "delegate", str(seq), line.at


def _last_words(
    withdrawals: Withdrawals,
    completions: Completions,
    subjects: list[tuple[bytes, bytes]],
    reader: Reader,
) -> Iterator[Event]:
    for study in sorted({study for study, _ in subjects}):
        kept = withdrawals.newest(study, reader.record)
        said = None if kept is None else completions.newest(kept.digest)
        if kept is not None and said is not None:
            yield "stopped", kept.digest.hex(), float(said.payload["completed_at"])


def _results(state: Path, audit: NodeAudit, record: RecordNumber) -> Iterator[Event]:
    """Results of the studies that used the patient's data."""
    shown = results.published(state)
    if not shown:
        return
    lines = patient_view.lines(audit.log, record, since=0, size=audit.log.log.size)
    took_part = {str(line.study) for _, line in lines if line.kind == "disclosure"}
    for name in sorted(took_part & set(shown)):
        yield "result", name, shown[study_id(name)]
