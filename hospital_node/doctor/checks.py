"""Every check, one line each, in the order in which a person would look."""

from __future__ import annotations

from hospital_node.doctor import daemon, identity, ledger, machine, network, records
from hospital_node.doctor.site import Site
from twinward.doctor import machine as any_machine
from twinward.doctor.findings import Check

_JOINED = ("configuration", "founding file")
_WAY = (*_JOINED, "names", "way out")
_REACHED = (*_JOINED, "certificate", "coordinator TLS")

CHECKS: tuple[Check[Site], ...] = (
    Check("packages", machine.packages),
    Check("Flower gate", machine.gate),
    Check("configuration", identity.settings),
    Check("policy", identity.policy, ("configuration",)),
    Check("secrets", identity.secrets),
    Check("disk", any_machine.disk),
    Check("state folder", any_machine.writable),
    Check("memory", any_machine.memory),
    Check("threads", machine.threads, ("configuration",)),
    Check("open files", any_machine.files),
    Check("daemon", daemon.daemon, ("configuration",)),
    Check("ports", machine.ports, ("configuration", "daemon")),
    Check("patient records", records.data, ("configuration",)),
    Check("founding file", identity.founding, ("configuration", "secrets")),
    Check("certificate", identity.certificate, _JOINED),
    Check("approved plans", identity.approved_plans, (*_JOINED, "policy")),
    Check("names", network.names, _JOINED),
    Check("proxy", network.proxy, _JOINED),
    Check("way out", network.way_out, (*_JOINED, "certificate")),
    Check("coordinator TLS", network.tls, (*_WAY, "certificate")),
    Check("clock", network.clock, _REACHED),
    Check("ledger", ledger.ledger, _WAY),
    Check("membership", ledger.membership, ("ledger",)),
    Check("witness quorum", ledger.witness, _JOINED),
    Check("consents: copy", ledger.mirror, _JOINED),
    Check("consents: vault", records.vault, ("configuration",)),
    Check("consents: queue", records.outbox, ("consents: vault",)),
    Check("letters", records.letters, ("consents: vault",)),
    Check("privacy book", records.book, ("configuration",)),
    Check("book and ledger", ledger.spend, ("privacy book", "ledger")),
    Check("patients' accounts", records.patients_accounts, ("configuration", "secrets", "daemon")),
    Check("audit log", records.audit, _JOINED),
    Check("audit log: ledger", records.anchors, ("audit log",)),
    Check("node: policy", daemon.rules, ("daemon",)),
    Check("node: consents", daemon.consents, ("daemon",)),
    Check("node: witness", daemon.witnessing, ("daemon",)),
    Check("node: SuperNode", daemon.supernode, ("daemon",)),
    Check("node: privacy", daemon.budget, ("daemon",)),
)
