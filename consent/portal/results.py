"""What came out of a study, in plain words, for the patients who took part.

People write it; the site shows it. It lies in the site's folder, one file for each study, and says
nothing about any one patient.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from consent.portal.languages import languages
from twinward.errors import UsageError
from twinward.files import write_atomic
from twinward.ids import StudyId, study_id

LONGEST = 4_000
"""Characters of a result in one language."""
_FIRST, _LAST = "result-", ".toml"


def publish(state: Path, study: StudyId, words: Path) -> tuple[str, ...]:
    """Show this to the patients of a study from now on; returns in which languages.

    Args:
        state: Folder of the site's state.
        study: Its name.
        words: TOML, a text for each language: ``en = '''...'''``. English must be there.

    Raises:
        UsageError: TW8075, it is something else.
    """
    try:
        data = words.read_bytes()
        found = tomllib.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _not_a_result(words, str(error)) from error
    unknown = set(found) - set(languages())
    if unknown or "en" not in found:
        raise _not_a_result(
            words, f"it has {', '.join(sorted(found)) or 'nothing'}; `en` is needed"
        )
    long = [
        code
        for code, text in found.items()
        if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST
    ]
    if long:
        raise _not_a_result(words, f"`{long[0]}` is no text of at most {LONGEST} characters")
    write_atomic(_path(state, study), data, mode=0o600)
    return tuple(sorted(found))


def of(state: Path, study: StudyId) -> Mapping[str, str] | None:
    """The result by language; None while there is none."""
    try:
        return tomllib.loads(_path(state, study).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def published(state: Path) -> Mapping[StudyId, float]:
    """When the result of each study that has one was written, Unix seconds."""
    found = state.glob(f"{_FIRST}*{_LAST}")
    return {
        study_id(path.name.removeprefix(_FIRST).removesuffix(_LAST)): path.stat().st_mtime
        for path in found
    }


def _path(state: Path, study: StudyId) -> Path:
    return state / f"{_FIRST}{study}{_LAST}"


def _not_a_result(words: Path, note: str) -> UsageError:
    return UsageError(
        "this is not a result in plain words",
        code="TW8075",
        at=str(words),
        note=note,
        help="write TOML with a text for each language: en = '''We found ...'''",
    )
