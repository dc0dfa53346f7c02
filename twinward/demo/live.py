"""The live line of a run, and what happens to it on the way."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from twinward import gdp
from twinward.console import is_interactive
from twinward.demo.stage import Json, Stage
from twinward.errors import InternalError


@dataclass(slots=True)
class LiveRun:
    """Follows a run's events; ``at_step`` says what to do after which step."""

    stage: Stage
    at_step: dict[int, Callable[[], None]]
    opened: Json = field(default_factory=dict)
    attempts: int = 0
    events: list[Json] = field(default_factory=list)

    def follow(self, *words: str) -> Json:
        """Run the command to its end; returns the event of the release.

        Raises:
            InternalError: TW9014, the run ended without a release.
        """
        process = self.stage.events(*words)
        assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
        last: Json = {}
        for line in process.stdout:
            last = json.loads(line)
            self.events.append(last)
            self._handle(last)
        process.wait()
        if last.get("event") != "released":
            raise InternalError(
                "the run ended without a release",
                code="TW9014",
                note=json.dumps(last.get("error", last))[:600],
                help="keep the folder with --keep and read coordinator.log",
            )
        return last

    def _handle(self, event: Json) -> None:
        match event.get("event"):
            case "opened":
                self.opened = event
            case "epoch":
                self.attempts += 1
                members = ", ".join(event["members"])
                self.stage.say(f"epoch {event['epoch']}, fresh keys: {members}")
            case "step":
                self._step(event)
                action = self.at_step.pop(event["step"], None)
                if action is not None:
                    self._end_line()
                    action()
            case "lost":
                self._end_line()
                gone = ", ".join(event["missing"])
                self.stage.say(
                    f"step {event['step']}: {gone} is gone; the attempt is charged all the same"
                )
            case "closed":
                self._end_line()
                self.stage.say(
                    f"closed: {len(event['members'])} hospitals signed the same model, bit for bit"
                )
            case "evaluating":
                self.stage.say(
                    "measured on patients who were kept out of training, by one more secure sum of "
                    f"score histograms: epsilon {event['epsilon']:g} for each of them"
                )

    def _step(self, event: Json) -> None:
        step, steps = event["step"], event["of"]
        if event["step"] == 2:
            self._what_the_coordinator_sees(event)
        text = (
            f"step {step:>2}/{steps}  {len(event['members'])} hospitals  "
            f"epsilon so far {self._epsilon():.2f} of {self.opened['epsilon']:g}  "
            f"{(steps - step) * self.opened['slot_seconds']:.0f} s left"
        )
        if step < steps:
            self.attempts += 1
        if is_interactive():
            sys.stderr.write(f"\r\033[K   {text}")
            sys.stderr.flush()
        elif step % 5 == 0 or step == 1:
            self.stage.say(text)

    def _what_the_coordinator_sees(self, event: Json) -> None:
        self._end_line()
        words = " ".join(event["received"])
        total = " ".join(f"{value:+.2f}" for value in event["sum"])
        self.stage.say(
            f"all that the coordinator receives from {event['received_from']}: {words} ...\n"
            f"and what the sum of all {len(event['members'])} says:  {total} ..."
        )

    def _epsilon(self) -> float:
        attempts = self.opened["steps"] + self.opened["spare_attempts"]
        mu = gdp.mu_of(self.opened["epsilon"], self.opened["delta"])
        return gdp.epsilon_of(mu * math.sqrt(self.attempts / attempts), self.opened["delta"])

    @staticmethod
    def _end_line() -> None:
        if is_interactive():
            sys.stderr.write("\n")
