"""``twinward server``: who belongs to the network, and whom the coordinator serves."""

from __future__ import annotations

import time
from contextlib import closing
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.clock import SystemClock, iso
from twinward.console import emit, json_option, next_step, reports_errors, say, table
from twinward.errors import UsageError

if TYPE_CHECKING:
    from server.invitations import Register
    from twinward.founding import Founding, Member
    from twinward.ids import OrgName

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_HOSTS = ("localhost", "127.0.0.1")


@click.command()
@FOLDER
@click.argument("hospital")
@click.option("--hours", default=72.0, show_default=True, help="How long the token can be used.")
@click.option("--host", "hosts", multiple=True, help="A host name or address of the hospital.")
@click.option("--address", help="Where hospitals reach the join port, if not at this host.")
@click.option("--renew", is_flag=True, help="For a member whose certificate expired.")
@json_option
@reports_errors
def invite(
    *,
    folder: Path,
    hospital: str,
    hours: float,
    hosts: tuple[str, ...],
    address: str | None,
    renew: bool,
    as_json: bool,
) -> None:
    """Print a token with which HOSPITAL may ask to join, once; it is not shown again."""
    from server import ca_rollover
    from server.settings import FILE, ServerSettings
    from twinward.authorities import digests
    from twinward.ids import org_name
    from twinward.join_token import JoinToken, spelled
    from twinward.organisation import Organisation
    from twinward.settings import load

    org, settings, founding = org_name(hospital), load(ServerSettings, folder / FILE), _of(folder)
    if renew:
        _require_hospital(founding.member(org))
    elif any(member.org == org for member in founding.members):
        raise UsageError(
            f"`{org}` is a member already",
            code="TW6024",
            help="choose another name; a member renews its certificate, or, if that expired, needs "
            "`--renew`",
        )
    if not settings.join_port:
        raise UsageError(
            "this coordinator does not let anybody join: it has no `join_port`",
            code="TW6031",
            at=str(folder / FILE),
            help="set `join_port` in `coordinator.toml` and start the coordinator again",
        )
    if hours <= 0:
        raise click.UsageError("--hours must be more than 0")
    root = ca_rollover.certificates(Organisation(folder))[0]
    where = address or settings.front_door or f"{settings.host}:{settings.join_port}"
    token = JoinToken.fresh(address=where, certificate_der=ca_rollover.der(root))
    expires = time.time() + 3600 * hours
    enter(folder, "hospital-invited")
    with _register(folder) as register:
        register.invite(org, token.hash, hosts=(*_HOSTS, *hosts), expires=expires, renews=renew)
    fingerprint = digests(Organisation(folder).tls.ca.read_bytes())[0]
    emit(
        {
            "token": token.text,
            "hospital": org,
            "expires": iso(expires),
            "ca_sha256": fingerprint.hex(),
        },
        schema="server.invite",
        as_json=as_json,
        text=lambda: token.text,
    )
    say(f"for `{org}`, once, until {iso(expires)}; hand it over in private: it is not kept here")
    say(f"CA fingerprint, to compare by phone: {spelled(fingerprint)}")
    words = "renew FOLDER -" if renew else "join FOLDER - --data FILE --study STUDY"
    next_step(f"at the hospital: twinward node {words}, with the token on its standard input")


@click.command()
@FOLDER
@click.argument("hospital")
@click.option("--undo", is_flag=True, help="Serve a hospital again that was put out by mistake.")
@json_option
@reports_errors
def revoke(*, folder: Path, hospital: str, undo: bool, as_json: bool) -> None:
    """Stop serving HOSPITAL at once: no call, no open stream, not through Flower either.

    What it trained and what stands on the ledger stays. Whether it is a member is the hospitals'
    decision: they may suspend it.
    """
    from server.invitations import REVOKED

    founding = _of(folder)
    member = founding.member(hospital)
    _require_hospital(member)
    enter(folder, "hospital-unrevoked" if undo else "hospital-revoked", about=member)
    with _register(folder) as register:
        if undo:
            register.take_back(member.fingerprint)
        else:
            register.put_out(member.fingerprint, member.org, why=REVOKED, now=time.time())
    emit(
        {"hospital": member.org, "served": undo},
        schema="server.revoke",
        as_json=as_json,
        text=lambda: (
            f"`{member.org}` is served again"
            if undo
            else f"`{member.org}` is not served any more; open streams end within a second"
        ),
    )
    if not undo:
        next_step(f"twinward server plan {folder}: a new plan leaves `{member.org}` out")


@click.command()
@FOLDER
@json_option
@reports_errors
def members(*, folder: Path, as_json: bool) -> None:
    """Show who founded the network, who joined, who asks to, and who is not served."""
    from twinward import admission

    founding = _of(folder)
    founders = {member.fingerprint for member in founding.founders}
    with _register(folder) as register:
        out, asking = register.out(), [c for c in register.candidates() if not c.admitted]
    rows = [
        {
            "org": str(member.org),
            "role": member.role,
            "identity": str(member.fingerprint),
            "since": "founding" if member.fingerprint in founders else "joined",
            "served": member.fingerprint not in out,
            "why_not": out.get(member.fingerprint),
        }
        for member in founding.members
    ]
    needed = admission.needed(founding)
    waiting = [
        {
            "org": str(one.org),
            "identity": str(one.fingerprint),
            "endorsed": [str(m.org) for m in admission.endorsers(founding, one.admission)],
            "needed": needed,
        }
        for one in asking
    ]
    emit(
        {"members": rows, "candidates": waiting},
        schema="server.members",
        as_json=as_json,
        text=lambda: table(
            ("ORGANISATION", "ROLE", "IDENTITY", "SINCE", "SERVED"),
            [*map(_line, rows), *map(_waiting, waiting)],
        ),
    )


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    served = row["why_not"] or "yes"
    return (row["org"], row["role"], row["identity"][:16], row["since"], served)


def _waiting(row: dict[str, Any]) -> tuple[str, ...]:
    endorsed = f"{len(row['endorsed'])} of {row['needed']} endorsed"
    return (row["org"], "candidate", row["identity"][:16], "-", endorsed)


@click.command("roll-ca")
@FOLDER
@json_option
@reports_errors
def roll_ca(*, folder: Path, as_json: bool) -> None:
    """Make a new certificate authority; the old one stays trusted until it is retired."""
    from server import ca_rollover
    from twinward.authorities import digests
    from twinward.join_token import spelled
    from twinward.organisation import Organisation

    organisation, founding = Organisation(folder), _of(folder)
    enter(folder, "authority-rolled")
    ca_rollover.roll(organisation, network=founding.network, now=time.time())
    ca_rollover.renew_own(organisation, founding, now=time.time())
    fingerprint = digests(organisation.tls.ca.read_bytes())[0]
    emit(
        {"ca_sha256": fingerprint.hex()},
        schema="server.roll-ca",
        as_json=as_json,
        text=lambda: f"new authority: {spelled(fingerprint)}",
    )
    next_step("each hospital: twinward node renew FOLDER; then: twinward server retire-ca FOLDER")


@click.command("retire-ca")
@FOLDER
@click.confirmation_option(
    "--every-member-renewed", prompt="Has every member renewed its certificate since `roll-ca`?"
)
@json_option
@reports_errors
def retire_ca(*, folder: Path, as_json: bool) -> None:
    """Trust the newest authority alone; certificates of older ones are refused from now on."""
    from server import ca_rollover
    from twinward.organisation import Organisation

    _of(folder)
    enter(folder, "authority-retired")
    count = ca_rollover.retire(Organisation(folder))
    emit(
        {"retired": count},
        schema="server.retire-ca",
        as_json=as_json,
        text=lambda: f"{count} older authorities are not trusted any more",
    )


COMMANDS = (invite, revoke, members, roll_ca, retire_ca)


def not_served(folder: Path) -> frozenset[OrgName]:
    """The hospitals that a new plan leaves out."""
    founding = _of(folder)
    with _register(folder) as register:
        out = register.out()
    return frozenset(one.org for one in founding.hospitals if one.fingerprint in out)


def _of(folder: Path) -> Founding:
    from server import founding_ceremony

    return founding_ceremony.load_founding(folder)


def _register(folder: Path) -> closing[Register]:
    from server.invitations import Register
    from server.paths import ServerPaths

    return closing(Register(ServerPaths(folder).register))


def _require_hospital(member: Member) -> None:
    if not member.is_hospital:
        raise UsageError(
            "only a hospital can be put out",
            code="TW6041",
            help="name a hospital; `twinward server members` lists them",
        )


def enter(folder: Path, what: str, *, about: Member | None = None) -> None:
    """Enter a command into the coordinator's audit log, before it acts."""
    from ledger.questions import logbook

    if not logbook.is_here(folder):
        return
    topics = () if about is None else (f"digest:{about.keys.digest.hex()}",)
    with logbook.opened(folder, founding=_of(folder), clock=SystemClock()) as log:
        log.did(what, by=f"urn:twinward:account:{getuser()}", about=topics)
