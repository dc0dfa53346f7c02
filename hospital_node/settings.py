"""What a hospital's IT may set; never pushed by anyone else."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hospital_node.forwarder_settings import ForwarderSettings, table
from twinward.ids import OrgName
from twinward.settings import RoleSettings

FILE = "node.toml"


class NodeSettings(RoleSettings):
    """``node.toml``: where the data lies, ports and limits; agreements stand in ``policy.toml``."""

    org: OrgName
    data: Path
    host: str = "127.0.0.1"
    desk_port: int = Field(ge=1, le=65535)
    flower_port: int = Field(ge=1, le=65535)
    lifetime_epsilon: float = Field(default=3.0, gt=0, le=20)
    """Most that all studies together may spend of one patient's privacy (at delta 1e-5)."""
    ledger_cap_mu2: float = Field(default=100.0, gt=0, le=1e6)
    """Most that this hospital will ever reserve on the ledger, all runs added up, in mu squared.
    Stated there at each start: a lower one holds at once, a higher one after thirty days."""
    mirror_max_age_seconds: float = Field(default=30.0, gt=0)
    """Older than this the record of consents is not trusted and training refuses."""
    witness: bool = True
    """Run a ledger node of this hospital's own that executes every block again, and co-sign."""
    witness_quorum: int = Field(default=0, ge=0)
    """Hospitals, this one included, that must have co-signed the newest block; 0 asks for none."""
    audit_anchor_seconds: float = Field(default=3600.0, gt=0)
    """How often a head of the audit log goes to the ledger, whatever happened in between."""
    revalidate_days: float = Field(default=30.0, gt=0)
    """How often every model and twin that was validated here is measured again."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads of a clipped sum in torch; with patients of one hospital more of them mostly wait."""
    on_chain_by_seconds: int = Field(default=3600, ge=60)
    """Deadline for a withdrawal to stand on the ledger, promised on its receipt."""
    erased_copy: Path | None = None
    """A file on another disk, made empty once, that names what was erased: a backup that is put
    back erases it again before the node starts. Missing, the node does not start."""
    vault_server: str | None = None
    """A database of the hospital's own PostgreSQL server for the consent vault, as
    ``postgresql://user@host/database?passfile=...``; without it the vault is a file of the node."""
    forwarder: ForwarderSettings | None = None
    """The only way out of this node; without it the node connects by itself."""


def write(path: Path, settings: NodeSettings) -> None:
    """Write the file that ``load`` reads, with a comment on each line that needs one."""
    lines = [
        "# Twinward hospital node. This file is yours: nobody pushes changes to it.",
        f'org = "{settings.org}"',
        f'data = "{settings.data}"              # patient records; read by the node daemon only',
        f'host = "{settings.host}"',
        f"desk_port = {settings.desk_port}      # consent desk for patients, TLS",
        f"flower_port = {settings.flower_port}  # Flower's runtime API, loopback only",
        f"lifetime_epsilon = {settings.lifetime_epsilon}",
        f"ledger_cap_mu2 = {settings.ledger_cap_mu2}",
        f"mirror_max_age_seconds = {settings.mirror_max_age_seconds}",
        f"on_chain_by_seconds = {settings.on_chain_by_seconds}",
        f"threads = {settings.threads}  # of a clipped sum in torch",
        f"audit_anchor_seconds = {settings.audit_anchor_seconds}  # heads of the audit log",
        f"revalidate_days = {settings.revalidate_days}  # reports on models and twins",
        f"witness = {str(settings.witness).lower()}  # execute every block again and co-sign it",
        f"witness_quorum = {settings.witness_quorum}  # co-signatures to ask for; 0 asks for none",
    ]
    if settings.vault_server is not None:
        lines.append(f'vault_server = "{settings.vault_server}"  # consents, in your PostgreSQL')
    if settings.forwarder is not None:
        lines += table(settings.forwarder)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
