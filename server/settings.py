"""What the coordinator's administrator may set."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from twinward.ids import OrgName
from twinward.settings import RoleSettings

FILE = "coordinator.toml"


class ServerSettings(RoleSettings):
    """``coordinator.toml``: names and addresses; keys lie in ``secrets/``."""

    org: OrgName
    network: str
    host: str = "127.0.0.1"
    network_port: int = Field(ge=1, le=65535)
    flower_port: int = Field(ge=1, le=65535)
    ledger_port: int = Field(ge=1, le=65535)
    join_port: int = Field(default=0, ge=0, le=65535)
    """Where invited hospitals ask to join, TLS without client certificates; 0 lets nobody ask."""
    front_door: str = Field(default="", pattern=r"^([A-Za-z0-9.\-]+:[0-9]{1,5})?$")
    """``host:port`` at which hospitals find everything, served by the front door; empty without."""
    keeper_port: int = Field(default=0, ge=0, le=65535)
    """Where the front door asks who is served, mutual TLS with its own key alone."""
    join_window_seconds: float = Field(default=45.0, gt=0)
    """How long a run waits for hospitals after its opening before it starts with those present."""
    audit_anchor_seconds: float = Field(default=3600.0, gt=0)
    """How often a head of the audit log goes to the ledger, whatever happened in between."""
    checkpoint_seconds: float = Field(default=3600.0, gt=0)
    """How often a checkpoint of the network's log is signed, if anything happened since."""


def write(path: Path, settings: ServerSettings) -> None:
    """Write the file that ``load`` reads, with a comment on each line that needs one."""
    path.write_text(
        f"""# Twinward coordinator. Secrets are files in secrets/, never values here.
org = "{settings.org}"
network = "{settings.network}"
host = "{settings.host}"
network_port = {settings.network_port}   # secure sums, mTLS
flower_port = {settings.flower_port}    # Flower's SuperLink, TLS
ledger_port = {settings.ledger_port}    # embedded ledger, JSON-RPC over TLS
join_port = {settings.join_port}      # for hospitals with an invitation, TLS; 0 lets nobody ask
front_door = "{settings.front_door}"   # host:port for everybody outside; empty without
keeper_port = {settings.keeper_port}    # where the front door asks who is served
join_window_seconds = {settings.join_window_seconds}
checkpoint_seconds = {settings.checkpoint_seconds}   # signed states of the network's log
audit_anchor_seconds = {settings.audit_anchor_seconds}  # heads of the audit log
""",
        encoding="utf-8",
    )
