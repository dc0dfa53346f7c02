"""``policy.toml``: read strictly, named to the line when it is wrong, and never guessed at.

The file belongs to the hospital. Nothing writes it but ``twinward node init`` (once) and
``twinward node approver add``; nobody outside can. Where it cannot be read there is no policy, and
without a policy everything is refused.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hospital_node.policy_terms import Approver, Contact, SitePolicy, StudyPolicy
from twinward.errors import UsageError
from twinward.files import write_atomic

FILE = "policy.toml"
_TABLES: Mapping[str, type[BaseModel]] = {
    "studies": StudyPolicy,
    "approvers": Approver,
    "contacts": Contact,
}
_HEADING = re.compile(r"\s*\[\[?\s*([A-Za-z_][\w-]*)\s*\]\]?")
_KEY = re.compile(r"\s*\"?([A-Za-z_][\w-]*)\"?\s*=")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy and the exact bytes that say it."""

    policy: SitePolicy
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def read(folder: Path, *, known: PolicyFile | None = None) -> PolicyFile:
    """The policy of the hospital in this folder, as it is at this moment.

    Args:
        folder: The node's folder.
        known: What was read before; given back if the file holds the very same bytes.

    Raises:
        UsageError: TW7300 there is none, TW7301 it is wrong, TW7306 others can write it.
    """
    path = folder / FILE
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the site's policy cannot be read ({error.strerror})",
            code="TW7300",
            at=str(path),
            help="bring it back, or write one (`docs/policy.md`); until then every run is refused",
        ) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            "other users of this machine can change the site's policy",
            code="TW7306",
            at=str(path),
            help=f"read it through, then run `chmod go-w {path}`; until then every run is refused",
        )
    if known is not None and known.data == data:
        return known
    return PolicyFile(parse(data, at=str(path)), data)


def parse(data: bytes, *, at: str = FILE) -> SitePolicy:
    """A policy from its bytes; an unknown key is named with its line and the nearest known one.

    Raises:
        UsageError: TW7301.
    """
    try:
        text = data.decode("utf-8")
        return SitePolicy.model_validate(tomllib.loads(text))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(f"it is not valid TOML: {error}", at=at) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = tuple(first["loc"])
        line = _line_of(text, place)
        where = at if line is None else f"{at}: line {line}"
        if first["type"] == "extra_forbidden":
            raise _wrong(_unknown(place), at=where) from error
        what = str(first["msg"]).removeprefix("Value error, ")
        key = ".".join(str(part) for part in place)
        raise _wrong(f"`{key}`: {what}" if key else what, at=where) from error


def text(policy: SitePolicy) -> str:
    """The file that ``read`` reads, with a comment on every term."""
    lines = [
        "# What this hospital agreed to. This file is yours: nobody pushes changes to it, and the",
        "# node reads it again before every vector. Broken or gone, it refuses every run.",
        "# Try a change: twinward node policy check FOLDER [PLAN]",
        "",
        f"take_part = {_toml(policy.take_part)}  # false stops every run at its next step",
        f"minimum_cohort = {policy.minimum_cohort}  # with fewer consenting patients no run begins",
        f'time_zone = "{policy.time_zone}"  # of hours and last days',
        f"hours = {_toml(policy.hours)}  # when runs compute: mon-fri 18:00-06:00; [] is always",
        f"code = {_toml(policy.code)}  # digests of installed code that may run; [] is any",
        f"approvals = {policy.approvals}  # signatures of different approvers that a plan needs",
        "",
        "# [[approvers]]  # `twinward node approver key FILE`, then `twinward node approver add`",
        "# [[contacts]]   # whom to call: name, reach, for_what",
    ]
    for one in policy.approvers:
        lines += ["", "[[approvers]]", f'name = "{one.name}"', f'key = "{one.key}"']
    for contact in policy.contacts:
        fields = contact.model_dump()
        lines += ["", "[[contacts]]", *(f"{key} = {_toml(fields[key])}" for key in fields)]
    for study in policy.studies:
        terms = study.model_dump(exclude_none=True)
        lines += ["", "[[studies]]  # the most that a plan of it may ask"]
        lines += [f"{key} = {_toml(value)}" for key, value in terms.items()]
    return "\n".join(lines) + "\n"


def write(folder: Path, policy: SitePolicy) -> None:
    """Write the file anew, readable and writable by its owner."""
    write_atomic(folder / FILE, text(policy).encode(), mode=0o640)


def add_approver(folder: Path, *, name: str, key: str) -> PolicyFile:
    """Name one more approver at the end of the file; every other byte of it stays.

    Raises:
        UsageError: TW7300, TW7301, TW7306, the file is wrong; TW7313, it cannot be added to it.
    """
    known = read(folder).data
    more = f"\n[[approvers]]\nname = {_toml(name)}\nkey = {_toml(key)}\n"
    data = known.rstrip(b"\n") + b"\n" + more.encode()
    try:
        parse(data)
    except UsageError as error:
        raise UsageError(
            f"`{name}` cannot be added as an approver",
            code="TW7313",
            note=error.diagnostic.message.removeprefix("the site's policy is wrong: "),
            help="give a short name in small letters and the 64 hex digits that "
            "`twinward node approver key` printed, each of one person; nothing was changed",
        ) from error
    write_atomic(folder / FILE, data, mode=0o640)
    return read(folder)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """What changed from one to the other, one ``key: old -> new`` a line, in the order of keys."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return tuple(
        f"{key}: {_short(before.get(key))} -> {_short(after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Leaves by their path; rows with a name of their own by that, so that order says nothing."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and value and all(isinstance(row, Mapping) for row in value):
        for number, row in enumerate(value):
            name = row.get("study") or row.get("name") or number
            yield from _flat(row, f"{path}[{name}]")
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    shown = _toml(value) if isinstance(value, bool | str | list | tuple) else str(value)
    if len(shown) <= 80:
        return shown
    return f"{shown[:40]}... ({hashlib.sha256(shown.encode()).hexdigest()[:12]})"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return str(value)


def _wrong(what: str, *, at: str) -> UsageError:
    return UsageError(
        f"the site's policy is wrong: {what}",
        code="TW7301",
        at=at,
        help="mend that line (`docs/policy.md` lists every key); until then every run is refused",
    )


def _unknown(place: tuple[int | str, ...]) -> str:
    kind = _TABLES.get(str(place[0]), SitePolicy) if len(place) > 1 else SitePolicy
    key, known = str(place[-1]), list(kind.model_fields)
    nearest = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{nearest[0]}`?" if nearest else f"known are {', '.join(known)}"
    return f"there is no key `{key}`; {hint}"


def _line_of(text: str, place: tuple[int | str, ...]) -> int | None:
    """The line of a key, counted from 1; tomllib keeps no places, so tables are counted here."""
    if not place:
        return None
    table = str(place[0]) if len(place) > 1 else ""
    wanted = place[1] if len(place) > 1 and isinstance(place[1], int) else 0
    key = next(part for part in reversed(place) if isinstance(part, str))
    rows: Counter[str] = Counter()
    current, heading = ("", 0), None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HEADING.match(line):
            current = (found[1], rows[found[1]])
            rows[found[1]] += 1
            if current == (table, wanted) or (not table and found[1] == key):
                heading = heading or number
        elif current == (table, wanted) and (found := _KEY.match(line)) and found[1] == key:
            return number
    return heading
