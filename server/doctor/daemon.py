"""Checks of the running coordinator, by what it says of itself on this machine's own socket."""

from __future__ import annotations

from typing import Any

from server.doctor.place import Place
from twinward import __version__, absence
from twinward.doctor.findings import Concern, NotChecked

_SILENT_SECONDS = 900


def daemon(place: Place) -> str:
    """It answers, or is stopped, nothing in between; and it is of the installed release."""
    if place.status is None:
        return "not running"
    release = place.status.get("release")  # which an older one does not say
    if release != __version__:
        raise Concern(
            f"the running coordinator is of release {release or 'unknown'}, {__version__} is "
            "installed",
            code="TW7664",
            help="finish what runs (`twinward server queue drain`), then start it again",
        )
    return f"running, pid {place.status['pid']}"


def members(place: Place) -> str:
    """Every hospital's node calls."""
    hospitals = [one for one in _running(place)["members"] if one["role"] == "hospital"]
    silent = [one for one in hospitals if not _is_there(one)]
    if silent:
        words = ", ".join(
            f"`{one['org']}` ({absence.last_seen(one.get('seen_seconds_ago'))})" for one in silent
        )
        raise Concern(
            f"{len(silent)} of {len(hospitals)} hospitals are not there: {words}",
            code="TW7661",
            help="call them: is the node up, and does `twinward node doctor` there find the way "
            "here? runs go on with three hospitals or more",
        )
    return f"all {len(hospitals)} hospitals are there"


def witnesses(place: Place) -> str:
    """Hospitals execute the ledger again and co-sign its blocks."""
    status = _running(place)
    hospitals = sum(one["role"] == "hospital" for one in status["members"])
    following = int(status["ledger"]["witnesses"])
    if following < hospitals:
        raise Concern(
            f"{following} of {hospitals} hospitals follow the ledger and co-sign its newest block",
            code="TW7662",
            help="ask the others for `witness = true` in their node.toml and for the line `node: "
            "witness` of `twinward node doctor`; packs say how many co-signed",
        )
    return f"{following} of {hospitals} hospitals co-sign"


def _is_there(member: dict[str, Any]) -> bool:
    seen = member.get("seen_seconds_ago")
    return bool(member["online"]) and seen is not None and seen <= _SILENT_SECONDS


def _running(place: Place) -> dict[str, Any]:
    if place.status is None:
        raise NotChecked("the coordinator is not running")
    return place.status
