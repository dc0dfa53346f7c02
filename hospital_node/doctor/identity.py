"""Checks of who this hospital is: configuration, policy, keys, founding file, certificate."""

from __future__ import annotations

from hospital_node import approvals, policy_code, policy_file
from hospital_node.doctor.site import Site
from hospital_node.policy import require
from hospital_node.policy_rules import Asked, Moment
from twinward.doctor import papers
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import IdentityError

_SECRETS = ("identity.key", "tls.key", "flower.key", "ledger.key")


def settings(site: Site) -> str:
    """``node.toml`` is read without an unknown key."""
    return f"node of `{site.settings.org}`"


def policy(site: Site) -> str:
    """``policy.toml`` is sound, and somebody can be called."""
    found = policy_file.read(site.folder)
    if not found.policy.studies:
        raise Concern(
            "the policy names no study, so every plan is refused",
            code="TW7307",
            at=str(site.folder / policy_file.FILE),
            help="add a [[studies]] entry for each study that the hospital agreed to",
        )
    return f"{found.digest[:16]}, studies: {', '.join(one.study for one in found.policy.studies)}"


def secrets(site: Site) -> str:
    """All keys are there, and only their owner can read them."""
    folder = site.organisation.secrets
    private = (folder, site.folder / "state", site.folder / "run")
    return papers.secrets([folder / name for name in _SECRETS], private=private)


def founding(site: Site) -> str:
    """The founding file verifies, and names this hospital with the key that is here."""
    member = site.founding.member(site.settings.org)
    if member.identity != site.organisation.identity().public:
        raise IdentityError(
            f"the founding file names `{site.settings.org}` with another key than is here",
            code="TW2013",
            at=str(site.organisation.founding_file),
            help="bring back the keys or the founding file of this hospital, unedited",
        )
    return f"`{site.founding.network}`, {len(site.founding.hospitals)} hospitals"


def certificate(site: Site) -> str:
    """Key, certificate and authority fit together, and the certificate lasts."""
    return papers.certificate(
        site.organisation.tls,
        now=site.clock.now(),
        renew="run `twinward node renew`",
        by_itself="a running node does so by itself",
    )


def approved_plans(site: Site) -> str:
    """Every approved plan reads, is still within the policy, and has its signatures."""
    names = approvals.names(site.folder)
    if not names:
        raise NotChecked("no plan is approved here yet")
    policy_now = policy_file.read(site.folder).policy
    for name in names:
        found = approvals.load(site.folder, name, founding=site.founding)
        asked = Asked(
            found.plan,
            site.settings.org,
            site.clock.now(),
            code=policy_code.installed() if policy_now.code else None,
        )
        require(policy_now, asked, at=Moment.PLAN)
        signed = approvals.signers(site.folder, found, policy_now, org=site.settings.org)
        if len(signed) < policy_now.approvals:
            raise IdentityError(
                f"the plan of `{name}` lacks approvals under the policy as it is now",
                code="TW7304",
                note=f"{len(signed)} of {policy_now.approvals}",
                help="have each approver run `twinward node approve` with a key of their own",
            )
    return ", ".join(names)
