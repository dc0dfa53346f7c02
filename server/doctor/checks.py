"""Every check, one line each, in the order in which a person would look."""

from __future__ import annotations

from server.doctor import daemon, ledger, papers, ports, work
from server.doctor.place import Place
from twinward.doctor import machine
from twinward.doctor.findings import Check

_FOUNDED = ("configuration", "founding file")
_UP = (*_FOUNDED, "daemon")

CHECKS: tuple[Check[Place], ...] = (
    Check("versions", papers.versions),
    Check("configuration", papers.settings),
    Check("secrets", papers.secrets),
    Check("disk", machine.disk),
    Check("state folder", machine.writable),
    Check("memory", machine.memory),
    Check("open files", machine.files),
    Check("databases", papers.databases),
    Check("founding file", papers.founding, ("configuration",)),
    Check("authority", papers.authority),
    Check("certificate", papers.certificate, _FOUNDED),
    Check("daemon", daemon.daemon, ("configuration",)),
    Check("ports", ports.ports, ("configuration", "daemon")),
    Check("SuperLink certificate", ports.superlink, (*_UP, "certificate", "ports")),
    Check("front door", ports.front_door, ("configuration", "authority")),
    Check("ledger: blocks", ledger.blocks, _FOUNDED),
    Check("ledger: checkpoints", ledger.checkpoints, ("ledger: blocks",)),
    Check("ledger", ledger.ledger, (*_UP, "certificate")),
    Check("clock", ledger.clock, _FOUNDED),
    Check("audit log", ledger.audit, _FOUNDED),
    Check("audit log: ledger", ledger.anchors, ("audit log",)),
    Check("runs", work.runs, ("configuration", "daemon", "databases")),
    Check("queue", work.queue, ("configuration", "databases")),
    Check("members", daemon.members, _UP),
    Check("witnesses", daemon.witnesses, _UP),
)
