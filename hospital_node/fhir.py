"""The FHIR API of a node: on when there is a ``fhir.toml`` in its folder.

The hospital's own record systems use it (`consent.fhir`); answers go to them and to nobody else.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from consent.fhir.registry import House, Registry
from consent.fhir.site import Api
from consent.fhir.smart import SCOPES, Client, Tokens
from consent.policy import Decision, Grade
from consent.study import Study
from hospital_node import approvals
from hospital_node.audit_log import NodeAudit
from hospital_node.consents import open_versions
from hospital_node.node import Node
from hospital_node.paths import FHIR
from ledger.audit import fhir
from ledger.audit.log import Happened
from twinward.clock import Clock
from twinward.errors import UsageError
from twinward.files import read_given
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.settings import RoleSettings, load
from twinward.web.limits import Limit
from twinward.web.serve import Background, listen, origin_of

EVERY: Final = frozenset(Grade)
"""For a patient's own care, which no plan limits."""


class ClientSettings(BaseModel):
    """A record system: its name, its file of public keys (JWKS), and what it may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")
    jwks: Path
    scopes: tuple[str, ...]


class FhirSettings(RoleSettings):
    """``fhir.toml``: where the API listens, and who may use it."""

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    clients: tuple[ClientSettings, ...] = ()


def of(node: Node) -> Background:
    """The API of this node, ready to start.

    Raises:
        UsageError: TW1050 to TW1052 the settings are wrong, TW8613 a client's are, TW7021 the port
            is taken. ConsentError: TW3021, TW3022, the file of versions is of another form.
    """
    settings = load(FhirSettings, node.folder / FHIR)
    base = f"{origin_of(settings.host, settings.port, tls=True)}/fhir"
    clients = [_client(one, node.folder) for one in settings.clients]
    versions = open_versions(node.folder)
    registry = Registry(node.vault, versions, _house(node))
    tokens = Tokens(clients, audience=f"{base}/token", versions=versions, clock=node.clock)
    limit = Limit(per_second=100, burst=400)
    app = Api(registry, tokens, base=base, limit=limit).application()
    listener = listen(settings.host, settings.port)
    return Background(app, listener, tls=Organisation(node.folder).tls)


def _house(node: Node) -> House:
    grades: dict[bytes, frozenset[str]] = {}
    for name in approvals.names(node.folder):
        agreed = approvals.load(node.folder, name, founding=node.founding)
        grades[agreed.study.id32] = frozenset(agreed.plan.grades)
    return House(
        desk=replace(node.surroundings, grades=lambda study: grades.get(study, EVERY)),
        records=node.rows.keys(),
        confirm=node.follower.confirm,
        attested=lambda record, study, staff: node.audit.attested(
            record, what="grant-attested", study=study, staff=staff
        ),
        objected=lambda record, by: node.audit.cared("objection", record, twin="", by=by),
        decided=partial(_decided, node.audit, node.clock),
        changed=node.follower.changed,
    )


def _decided(  # noqa: PLR0917 - what is known of a decision
    audit: NodeAudit,
    clock: Clock,
    study: Study,
    record: RecordNumber,
    digest: bytes | None,
    found: Decision,
    client: str,
) -> None:
    body = fhir.consent_decision(
        org=audit.log.org,
        patient=record,
        study=study.name,
        consent="none" if digest is None else digest.hex(),
        permit=found.permit,
        rule=found.rule,
        at=clock.now(),
        client=f"fhir-client:{client}",
    )
    about = (
        f"study:{study.id32.hex()}",
        f"decision:{'permit' if found.permit else 'deny'}",
        f"rule:{found.rule}",
    )
    audit.log.enter([Happened("consent-decision", body, about, record)])


def _client(settings: ClientSettings, folder: Path) -> Client:
    def wrong(why: str) -> UsageError:
        return UsageError(
            f"the record system `{settings.name}` cannot be served: {why}",
            code="TW8613",
            at=str(folder / FHIR),
            help="docs/fhir.md shows a client with its keys and scopes",
        )

    if not settings.scopes or set(settings.scopes) - set(SCOPES):
        raise wrong(f"its scopes must be among {', '.join(sorted(SCOPES))}")
    try:
        keys: Any = json.loads(read_given(folder / settings.jwks))
    except ValueError as error:
        raise wrong("its file of keys is not JSON") from error
    if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list) or not keys["keys"]:
        raise wrong("its file of keys is no JWKS")
    if any(not isinstance(key, dict) or {"d", "k"} & set(key) for key in keys["keys"]):
        raise wrong("its file holds a private or shared key; give the public ones")
    return Client(settings.name, keys, settings.scopes)
