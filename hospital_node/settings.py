"""What a hospital's IT may set; never pushed by anyone else."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from twinward.ids import OrgName
from twinward.settings import RoleSettings

FILE = "node.toml"


class StudyPolicy(BaseModel):
    """One study this hospital takes part in, and the most it may cost a patient."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    models: tuple[str, ...]
    purposes: tuple[str, ...]
    max_epsilon: float = Field(default=1.0, gt=0, le=20)
    max_evaluation_epsilon: float = Field(default=3.0, ge=0, le=20)
    """Most that measuring a finished model may cost a patient who was kept out of training."""
    max_steps: int = Field(default=100, ge=1)
    grades: tuple[str, ...] = ("signed-on-device",)
    visible_updates: bool = False
    """Whether updates may leave without masks, so that robust rules can compare hospitals."""


class NodeSettings(RoleSettings):
    """``node.toml``: where the data lies, which studies are allowed, limits."""

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
    minimum_cohort: int = Field(default=20, ge=1)
    """Fewer consenting patients than this and the hospital sits a run out."""
    witness: bool = True
    """Run a ledger node of this hospital's own that executes every block again, and co-sign."""
    witness_quorum: int = Field(default=0, ge=0)
    """Hospitals, this one included, that must have co-signed the newest block; 0 asks for none."""
    audit_anchor_seconds: float = Field(default=3600.0, gt=0)
    """How often a head of the audit log goes to the ledger, whatever happened in between."""
    on_chain_by_seconds: int = Field(default=3600, ge=60)
    """Deadline for a withdrawal to stand on the ledger, promised on its receipt."""
    studies: tuple[StudyPolicy, ...] = ()


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
        f"minimum_cohort = {settings.minimum_cohort}",
        f"on_chain_by_seconds = {settings.on_chain_by_seconds}",
        f"audit_anchor_seconds = {settings.audit_anchor_seconds}  # heads of the audit log",
        f"witness = {str(settings.witness).lower()}  # execute every block again and co-sign it",
        f"witness_quorum = {settings.witness_quorum}  # co-signatures to ask for; 0 asks for none",
    ]
    for study in settings.studies:
        lines += [
            "",
            "[[studies]]  # what this hospital agreed to; a plan beyond it is refused",
            f'study = "{study.study}"',
            f"models = {_strings(study.models)}",
            f"purposes = {_strings(study.purposes)}",
            f"max_epsilon = {study.max_epsilon}",
            f"max_evaluation_epsilon = {study.max_evaluation_epsilon}",
            f"max_steps = {study.max_steps}",
            f"grades = {_strings(study.grades)}",
            f"visible_updates = {str(study.visible_updates).lower()}",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _strings(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
