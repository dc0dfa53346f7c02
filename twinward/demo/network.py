"""Founding and starting a network on this machine, command by command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twinward.demo.stage import Json, Stage, free_ports

STUDY = "heart-risk"


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """A coordinator and hospitals, each in its own folder under the stage's."""

    stage: Stage
    hospitals: tuple[str, ...]
    data: dict[str, Path]
    slot: float
    plan_options: tuple[str, ...] = ()
    """What else `server plan` is told."""
    study: str = STUDY
    agreed: tuple[str, ...] = ()
    """What else `node init` is told of what hospitals agreed to."""
    attack: bool = False
    """Whether the first hospital attacks the code before it approves; all have the same code."""

    def found(self) -> Json:
        """Make all keys on site, sign the founding file everywhere, approve one plan; the plan."""
        stage, names = self.stage, self.hospitals
        ports = free_ports(4 + 2 * len(names))
        stage.command(
            "server", "init", "coordinator", "--network", "demo", "--base-port", str(ports)
        )
        self._everywhere(
            lambda name, place: (
                "node", "init", name, "--name", name, "--data", str(self.data[name]),
                "--base-port", str(ports + 4 + 2 * place), "--study", self.study,
                *self.agreed,
            ),
            shown="node init HOSPITAL --name HOSPITAL --data FILE",
        )  # fmt: skip
        stage.command(
            "server", "found", "coordinator", *(f"{name}/{name}.request.json" for name in names)
        )
        self._everywhere(
            lambda name, _: ("node", "sign", name, "coordinator/founding.draft.json"),
            shown="node sign HOSPITAL coordinator/founding.draft.json",
        )
        signed = (f"--signed={name}/founding.{name}.json" for name in names)
        stage.command("server", "found", "coordinator", *signed)
        words = ("server", "plan", "coordinator", "--study", self.study, "--slot", str(self.slot))
        plan = stage.command(*words, *self.plan_options)
        self._everywhere(
            lambda name, _: ("node", "accept", name, "coordinator/founding.json"),
            shown="node accept HOSPITAL coordinator/founding.json",
        )
        if self.attack:
            stage.command("node", "approve", names[0], plan["study"], plan["plan"])
        approving = names[1:] if self.attack else names
        self._everywhere(
            lambda name, _: ("node", "approve", name, plan["study"], plan["plan"], "--no-attack"),
            shown=f"node approve HOSPITAL {plan['study']} {plan['plan']} --no-attack",
            among=approving,
        )
        self._everywhere(
            lambda name, _: (
                "node", "letters", name, "--study", self.study, "--out", f"{name}.letters",
            ),
            shown=f"node letters HOSPITAL --study {self.study} --out HOSPITAL.letters",
        )  # fmt: skip
        return plan

    def start(self) -> None:
        """Start ledger, coordinator and nodes; returns when all are up."""
        stage = self.stage
        stage.up("coordinator", "server", "up", "coordinator")
        stage.wait_for("coordinator", "is up: 127.0.0.1")
        for name in self.hospitals:
            stage.up(name, "node", "up", name)
        for name in self.hospitals:
            stage.wait_for(name, "is up: consent desk")

    def status(self, name: str) -> Json:
        """A node's own view of itself; stays with its hospital, and with this demonstration."""
        return self.stage.command("node", "status", name, quiet=True)

    def cohort(self, name: str) -> int | None:
        """How many patients of a hospital permit the study now; None while it cannot tell."""
        cohort: int | None = self.status(name)["studies"][0].get("cohort")
        return cohort

    def _everywhere(self, words, *, shown: str, among=None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """The same command at every hospital, or at some; two at a time, shown once."""
        hospitals = self.hospitals if among is None else among
        self.stage.say(f"$ twinward {shown}   (x{len(hospitals)})")
        for start in range(0, len(hospitals), 2):
            begun = []
            for place in range(start, min(start + 2, len(hospitals))):
                call = words(hospitals[place], place)
                begun.append((self.stage.begin(*call), call))
            for process, call in begun:
                self.stage.finish(process, call)
