"""What is past its time, and its deletion. The times stand in ``stores``; a legal hold stops it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

from consent import erased
from hospital_node import erasures, holds
from hospital_node.consents import has_vault, open_vault
from twinward.ids import RecordNumber
from twinward.organisation import Organisation

YEAR: Final = 365.25 * 86_400
SIGNED_YEARS: Final = 10
LETTER_YEARS: Final = 1


def due(folder: Path, *, now: float, delete: bool = False) -> dict[str, int]:
    """How many rows of each class are past their time; with ``delete`` they are gone after this.

    Raises:
        ConsentError: TW3021, TW3022, TW8641. UsageError: TW8142, the holds cannot be read.
    """
    if not has_vault(folder):
        return {"letters": 0, "answers": 0}
    identity, held = Organisation(folder).identity(), holds.names(folder)

    def is_held(record: RecordNumber) -> bool:
        name = erased.name_of(record) or erasures.name(identity, record)
        return name in held

    vault = open_vault(folder)
    with closing(vault.store):
        return {
            "letters": erased.expire_letters(
                vault, before=int(now - LETTER_YEARS * YEAR), is_held=is_held, delete=delete
            ),
            "answers": erased.expire_answers(
                vault, before=int(now - SIGNED_YEARS * YEAR), is_held=is_held, delete=delete
            ),
        }
