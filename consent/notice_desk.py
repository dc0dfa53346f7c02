"""What a patient's own letter can ask about mails: look, choose, confirm, end. None leaves here.

Bodies are canonical JSON, beside those of `consent.service`. A mail waits in the store until the
process that sends takes it (`twinward portal notify`): no relay can keep the desk waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consent.intake import Desk, Intake
from consent.notices import Notices
from consent.requests import not_a_request, object_of, read
from twinward import canonical
from twinward.errors import ConsentError
from twinward.ids import RecordNumber


class NoticeDesk:
    """The part of the consent desk that is about mails."""

    def __init__(self, desk: Desk, intake: Intake) -> None:
        self._desk = desk
        self._intake = intake

    def look(self, body: bytes) -> bytes:
        """``{code, study, notices: "look"}`` to what is chosen; ``sends`` is false where no mails.

        Raises:
            ConsentError: TW3010, TW3011, TW8161. UsageError: TW3019.
        """
        value = read(body, "code", "study", "notices")
        if value["notices"] != "look":
            raise not_a_request("notices are looked at")
        record = self._record(value)
        wish = None if self._desk.notices is None else self._desk.notices.of(record)
        return canonical.encode(
            {
                "sends": self._desk.notices is not None,
                "wish": None
                if wish is None
                else {
                    "address": wish.address,
                    "kinds": list(wish.kinds),
                    "confirmed": wish.confirmed,
                    "refused": wish.refused,
                },
            }
        )

    def choose(self, body: bytes) -> bytes:
        """``{code, study, notices}``; notices are ``{address, kinds, language}`` or ``{code}``.

        Raises:
            ConsentError: TW3010, TW3011, TW8161, TW8170 to TW8173. UsageError: TW3019.
        """
        value = read(body, "code", "study", "notices")
        record, told = self._record(value), object_of(value["notices"])
        now = int(self._desk.clock.now())
        if set(told) == {"code"}:
            self._notices().confirm(record, _text(told["code"]), now=now)
        elif set(told) == {"address", "kinds", "language"} and isinstance(told["kinds"], list):
            self._notices().ask(
                record,
                address=_text(told["address"]),
                kinds=[_text(kind) for kind in told["kinds"]],
                language=_text(told["language"]),
                now=now,
            )
        else:
            raise not_a_request("an address with what is chosen, or a code")
        return canonical.encode({})

    def end(self, body: bytes) -> bytes:
        """``{code, study, notices: "end"}``: no mails any more, the address is deleted.

        Raises:
            ConsentError: TW3010, TW3011, TW8161, TW8173. UsageError: TW3019.
        """
        value = read(body, "code", "study", "notices")
        self._notices().end(self._record(value))
        return canonical.encode({})

    def _record(self, value: Mapping[str, Any]) -> RecordNumber:
        return self._intake.own_letter(value["code"], value["study"]).record

    def _notices(self) -> Notices:
        if self._desk.notices is None:
            raise no_mails()
        return self._desk.notices


def no_mails() -> ConsentError:
    """The refusal where no relay is set."""
    return ConsentError(
        "this hospital sends no mails",
        code="TW8173",
        help="staff: write [mail] in `portal.toml`, restart the node, run `twinward portal notify`",
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise not_a_request("text is expected")
    return value
