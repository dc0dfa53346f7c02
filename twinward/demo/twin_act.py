"""The last act of the demonstration: one virtual patient's twin at one hospital of the network."""

from __future__ import annotations

from twinward.demo.stage import Json, Stage
from twinward.errors import InternalError

FANS = "twin.svg"
_DIARY = "diary.csv"
_RECORD = "virtual-1"
_SEED = "8"


def ask_a_twin(stage: Stage, hospital: str) -> Json:
    """The dose of a meal halved and increased; forecasters beside it, and the refusal."""
    stage.heading("One patient's own twin at one hospital: what if the dose had been another?")
    words = ("twin", "example", _DIARY, "--days", "5", "--seed", _SEED, "--until-dose")
    stage.say(f"$ twinward {' '.join(words)} &")
    living = stage.begin(*words)  # the person lives while the agreement is written down
    stage.command("twin", "agree", hospital, _RECORD)
    diary = stage.finish(living, words)
    dose, food = diary["last_bolus"], diary["last_carbs"]
    half = round(dose / 2, 3)
    stage.command("twin", "individualise", hospital, _RECORD, "--history", _DIARY)
    changes = (f"--change=bolus={-half:g}@0", f"--change=bolus={half:g}@0")
    asked = stage.command("twin", "what-if", hospital, _RECORD, *changes, "--plot", FANS)
    hour = asked["minutes"].index(60.0)
    less, more = (change[0] for change in asked["change"])
    stage.say(
        f"a virtual person, five days; the last meal: {food:.0f} g counted, {dose:g} units given. "
        f"Half of it less: {less[hour]:+.0f} mg/dL in an hour, {less[-1]:+.0f} in four; half of it "
        f"more: {more[hour]:+.0f}, {more[-1]:+.0f}"
    )
    held = next(each for each in asked["coverage"] if each["minutes"] == 60.0)
    if held["share"] is not None:
        stage.say(
            f"its 90 % intervals an hour ahead held in {held['share']:.0%} of {held['of']} past "
            f"moments of this person; the fans are in {FANS}"
        )
    if not less[-1] > 0 > more[-1]:
        raise InternalError(
            "the twin points the wrong way",
            code="TW9018",
            help="this is a serious fault: report it and do not use this version",
        )
    beside = stage.command("twin", "forecaster", _DIARY, f"--bolus={-half:g}", f"--bolus={half:g}")
    for one in beside["forecasters"]:
        error, (lower, higher) = one["error_over_persistence"], one["change"]
        stage.say(
            f"an ordinary forecaster that knows {one['knows']}, error {error:.2f} of that of `it "
            f"stays as it is`: half less {lower:+.0f} in an hour, half more {higher:+.0f}: "
            f"the {'wrong' if one['wrong_way'] else 'right'} way"
        )
    refusal = stage.refused(
        "twin", "what-if", hospital, _RECORD, "--twin", "glucose-forecast/1", changes[0]
    )["error"]
    stage.say(f"the product's forecaster, asked the same: [{refusal['code']}] {refusal['message']}")
    return {
        "hospital": hospital,
        "dose": dose,
        "less": less[-1],
        "more": more[-1],
        "coverage": held,
        "forecasters": beside["forecasters"],
        "refused": refusal["code"],
    }
