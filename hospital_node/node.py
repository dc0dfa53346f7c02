"""What a hospital node knows and holds while it is up: data, keys, budget, consents, mirror."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from consent.completions import Completions
from consent.intake import Desk
from consent.policy import Grade, Request
from consent.record import Grant, Withdrawal
from consent.relay import Ledger, Relay
from consent.service import ConsentDesk
from consent.spread import Spread
from consent.study import Study
from consent.vault import Vault
from hospital_node import (
    accounts,
    approvals,
    care_study,
    holdout,
    membership,
    notices,
    patient_view,
    policy_code,
    withdrawn,
)
from hospital_node.audit_log import NodeAudit
from hospital_node.cohort import Cohort
from hospital_node.cohort_snapshot import Snapshot
from hospital_node.consents import open_vault
from hospital_node.data import records, version
from hospital_node.data.records import Records
from hospital_node.egress import Egress
from hospital_node.enrolment import consent_domain
from hospital_node.follower import Follower
from hospital_node.memory import Memory, rows_of
from hospital_node.paths import NodePaths
from hospital_node.policy_live import SiteRules
from hospital_node.privacy import spending
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.continuity import MEMORY
from hospital_node.privacy.fence import Fence
from hospital_node.privacy.lifetime import LIFETIME_DELTA, Lifetime
from hospital_node.settings import FILE, NodeSettings
from ledger.account import new_key
from ledger.chain import Chain
from ledger.endpoint import Endpoint
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from twinward import gdp
from twinward.clock import Clock
from twinward.errors import IdentityError
from twinward.founding import Founding
from twinward.ids import RecordNumber, RunId
from twinward.organisation import Organisation
from twinward.reach import Reach
from twinward.rpc.reloading import ReloadingChannel
from twinward.settings import load
from twinward.signing import Identity

if TYPE_CHECKING:
    from hospital_node.train import ActiveRun


@dataclass(slots=True)
class Node:
    """One hospital's node. Open it with ``Node.open``; nothing runs until ``follower.start``."""

    folder: Path
    settings: NodeSettings
    founding: Founding
    identity: Identity
    clock: Clock
    patients: Records
    rows: dict[RecordNumber, int]
    """Where each patient stands in the table; who was erased stands nowhere."""
    places: NDArray[np.float64]
    """Each patient's place, by which a plan's hold-out is chosen (``hospital_node.holdout``)."""
    vault: Vault
    mirror: Mirror
    chain: Chain
    rpc: Rpc
    """The same ledger, for what is checked by proof."""
    book: BudgetBook
    lifetime: Lifetime
    """What each patient has spent and may still spend."""
    fence: Fence
    egress: Egress
    audit: NodeAudit
    """What this node wrote down; what it cannot write down it does not do."""
    rules: SiteRules
    """What this hospital agreed to; asked before every run and every vector."""
    relay: Relay
    follower: Follower
    desk: ConsentDesk
    surroundings: Desk
    """What the desk knows of this hospital; the FHIR API rests on the same."""
    completions: Completions
    """What became of withdrawals; the follower's thread goes on with them (``withdrawn``)."""
    _connections: ExitStack
    run: RunId | None = field(default=None)
    """The one run that this node takes part in, from its opening on."""
    active: ActiveRun | None = field(default=None)
    """The work of that run, once it has begun."""
    memory: Memory = field(default_factory=Memory)
    """Who else holds numbers of patients."""
    _cohorts: dict[tuple[bytes, Study], Cohort] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock) -> Node:
        """Open everything, and refuse to start on what does not fit together.

        Raises:
            LedgerError: TW5001 unreachable, TW5021, TW5023 another network or other contracts.
            IdentityError: TW2014, the ledger does not know this hospital as the founding file does.
            BudgetError: TW4105, TW4108, the budget book is an old copy; TW4310, another process
                of this node has begun with another copy; TW4311, the patients' accounts are of
                other keys.
        """
        settings = load(NodeSettings, folder / FILE)
        founding = membership.load_founding(folder)
        organisation, paths = Organisation(folder), NodePaths(folder)
        identity = organisation.identity()
        closing = ExitStack()
        chain = connect_ledger(founding, organisation.ledger_key(), folder=folder)
        closing.callback(chain.close)
        chain.check_contracts(founding_digest=founding.digest)
        require_on_ledger(chain, founding, [settings.org])
        patients = records.read(settings.data, hospital=settings.org)
        book = BudgetBook(paths.book, memory=MEMORY if MEMORY.is_dir() else None)
        egress = Egress(paths.egress_log, clock=clock)
        egress.let_out("ledger", "fence", to="ledger", size=100)
        fence = Fence.take(book, chain)
        egress.let_out("ledger", "cap", to="ledger", size=100)
        chain.state_cap(round(1e6 * settings.ledger_cap_mu2))
        version.put_on_ledger(
            patients, key=identity.derive(version.PURPOSE), chain=chain, egress=egress
        )
        lifetime = accounts.open_(folder, settings, identity, patients.records)
        spending.catch_up(book, lifetime)
        audit = NodeAudit.open(
            folder, org=settings.org, founding=founding, identity=identity, clock=clock
        )
        vault = open_vault(folder, alone=True)
        domain = consent_domain(founding)
        courier = connect_ledger(founding, new_key(), folder=folder)
        rpc = Endpoint.of(founding, folder).rpc()
        closing.callback(courier.close)
        closing.callback(rpc.close)
        mirror = Mirror(
            paths.mirror,
            rpc=rpc,
            genesis=domain.genesis,
            contract=domain.contract,
        )
        follower: Follower
        ledger = _gated_ledger(
            chain,
            courier,
            mirror,
            egress,
            chain_time=lambda: follower.chain_time(),  # noqa: PLW0108 - bound below
        )
        spread = Spread.within(
            settings.on_chain_by_seconds, vault, identity.derive("consent-spread"), clock
        )
        relay = Relay(vault, ledger, shuffle=SystemRandom(), spread=spread)
        channel = ReloadingChannel(
            founding.endpoints["network"],
            tls=organisation.tls,
            options=Reach.of(folder).channel_options(),
        )
        closing.callback(channel.close)
        follower = Follower(
            mirror,
            relay,
            channel=channel,
            coordinator=founding.coordinator.identity,
            clock=clock,
            max_age_seconds=settings.mirror_max_age_seconds,
        )
        mails = notices.for_desk(folder, identity)
        if mails is not None:
            closing.callback(mails.close)
        node: Node
        desk = Desk(
            hospital=settings.org,
            identity=identity,
            domain=domain,
            studies=_studies(folder, founding, identity, clock),
            clock=clock,
            slot=mirror.slot,
            chain_time=follower.chain_time,
            next_step=lambda study: node.next_step(study),  # noqa: PLW0108 - bound below
            ledger_deadline=settings.on_chain_by_seconds,
            withdrew=audit.withdrew,
            spoke=audit.spoke,
            grades=_grades(folder, founding),
            completed=lambda digest: node.completions.newest(digest),  # noqa: PLW0108 - likewise
            uses=lambda record, check: patient_view.uses(node, record, check=check),
            notices=mails,
        )
        node = cls(
            folder=folder,
            settings=settings,
            founding=founding,
            identity=identity,
            clock=clock,
            patients=patients,
            rows=rows_of(patients.records),
            places=holdout.places(identity.derive(holdout.PURPOSE), patients.records),
            vault=vault,
            mirror=mirror,
            chain=chain,
            rpc=rpc,
            book=book,
            lifetime=lifetime,
            fence=fence,
            egress=egress,
            audit=audit,
            rules=SiteRules(folder, org=settings.org, book=book, audit=audit, clock=clock),
            relay=relay,
            follower=follower,
            desk=ConsentDesk(vault, desk),
            surroundings=desk,
            completions=Completions(paths.completions),
            _connections=closing,
        )
        follower.then(withdrawn.rest_of(node))
        return node

    def next_step(self, study: bytes) -> int | None:
        """The first step whose cohort has not been drawn; None when the study is not running."""
        active = self.active
        return active.next_step if active is not None and active.study.id32 == study else None

    def cohort(self, approved: approvals.Approved) -> Cohort:
        """Who may be used for this study here, kept current; one object for each study and plan.

        Kept, because a new one decides on every patient again; what it knows is kept over a
        restart as well (`hospital_node.cohort_snapshot`).
        """
        key = approved.plan.digest, approved.study
        if key not in self._cohorts:
            self._cohorts[key] = Cohort(
                self.vault,
                self.mirror,
                records=self.patients.records,
                request=Request.of(
                    approved.study,
                    hospital=self.settings.org,
                    grades=frozenset(approved.plan.grades),
                ),
                domain=consent_domain(self.founding),
                clock=self.clock,
                confirm=self.follower.confirm,
                note=partial(self.audit.decided, approved.study),
                snapshot=Snapshot(
                    NodePaths(self.folder).cohort(approved.study.id32),
                    key=self.identity.derive("twinward/cohort/v1"),
                    release=policy_code.installed(),
                ),
            )
        return self._cohorts[key]

    @property
    def cohorts(self) -> list[Cohort]:
        """Every cohort that was asked for since the start."""
        return list(self._cohorts.values())

    def epsilon_spent(self, places: tuple[float, float]) -> float:
        """The most that was ever spent of a patient's privacy here, as epsilon at delta 1e-5.

        The worst case of the patients with a place in ``places``.
        """
        spent = self.lifetime.spent_mu2(holdout.within(self.places, places))
        return gdp.epsilon_of(math.sqrt(spent), LIFETIME_DELTA)

    def close(self) -> None:
        """Stop following and close everything; all of it is durable already."""
        self.follower.stop()
        for cohort in self.cohorts:
            cohort.save()
        self._connections.close()
        self.mirror.close()
        self.vault.store.close()
        self.completions.store.close()
        self.lifetime.close()
        self.book.close()
        self.egress.close()
        self.audit.close()


def _gated_ledger(
    chain: Chain,
    courier: Chain,
    mirror: Mirror,
    egress: Egress,
    *,
    chain_time: Callable[[], float],
) -> Ledger:
    """The relay's calls to the ledger, each noted at the gate before it leaves.

    ``courier`` brings signed withdrawals, which any account may: it has an account of its own, so
    that nothing this hospital has pending can ever hold one back.
    """
    ledger = Ledger.of(chain, mirror, chain_time=chain_time)

    def grants(items: Sequence[tuple[Grant, bytes]]) -> Sequence[tuple[bytes, str | None]]:
        egress.let_out("ledger", "grants", to="ledger", size=400 * len(items))
        return ledger.grants(items)

    def withdrawal(signed: Withdrawal, signature: bytes) -> None:
        egress.let_out("ledger", "withdrawals", to="ledger", size=300)
        courier.relay_withdrawal(signed.as_tuple(), signature)

    def attestation(study: bytes, subject: bytes) -> None:
        egress.let_out("ledger", "withdrawals", to="ledger", size=100)
        ledger.attestation(study, subject)

    return replace(ledger, grants=grants, withdrawal=withdrawal, attestation=attestation)


def require_on_ledger(chain: Chain, founding: Founding, orgs: Sequence[str]) -> None:
    """Require that `Membership` knows these organisations exactly as the founding file does.

    Raises:
        IdentityError: TW2014.
    """
    for org in orgs:
        member = founding.member(org)
        found = chain.member(bytes.fromhex(member.fingerprint))
        if (
            found is None
            or found.account.lower() != member.ledger_account.lower()
            or found.keys != member.keys.digest
        ):
            raise IdentityError(
                f"the ledger's membership does not know `{org}` as the founding file does",
                code="TW2014",
                help="compare the founding file with the other hospitals; do not train until "
                "it is explained",
            )


def require_active(chain: Chain, founding: Founding, orgs: Sequence[str]) -> None:
    """Require that the hospitals have suspended none of these organisations.

    Raises:
        IdentityError: TW3502.
    """
    for org in orgs:
        if chain.is_suspended(bytes.fromhex(founding.member(org).fingerprint)):
            raise IdentityError(
                f"`{org}` is suspended",
                code="TW3502",
                help="wait until the other hospitals have reinstated it, or approve a plan "
                "without it",
            )


def connect_ledger(founding: Founding, key: bytes, *, folder: Path) -> Chain:
    """The network's ledger, for the account of this key.

    Raises:
        LedgerError: TW5001 unreachable, TW5021 another network, TW3505 not let in.
    """
    return Endpoint.of(founding, folder).chain(founding, key=key)


def _studies(
    folder: Path, founding: Founding, identity: Identity, clock: Clock
) -> Mapping[bytes, Any]:
    agreed = (approvals.load(folder, name, founding=founding) for name in approvals.names(folder))
    care = care_study.of(folder, founding=founding, identity=identity, clock=clock)
    return {care.id32: care, **{each.study.id32: each.study for each in agreed}}


def _grades(folder: Path, founding: Founding) -> Callable[[bytes], frozenset[str]]:
    """Which grades a study's approved plan accepts; for a patient's own care, each."""
    agreed = (approvals.load(folder, name, founding=founding) for name in approvals.names(folder))
    accepted = {each.study.id32: frozenset(each.plan.grades) for each in agreed}
    return lambda study: accepted.get(study, frozenset(Grade))
