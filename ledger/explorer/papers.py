"""The documents at hand, by what auditors look for: names of studies, plans, runs and releases."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ledger.questions.documents import Documents, Pack
from ledger.questions.sources import number_of
from twinward.founding import Founding

PLACES = ("studies", "releases")
"""Folders of a coordinator, or of a copy, in which documents lie."""


@dataclass(frozen=True, slots=True)
class StudyPaper:
    """What patients were asked about.

    Attributes:
        digest: Under which the study is recorded.
        number: The study's 32 bytes in every consent.
        payload: The document as it was signed.
    """

    digest: bytes
    number: bytes
    payload: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its public name."""
        return str(self.payload["name"])


@dataclass(frozen=True)
class Papers:
    """Founding file and documents; a digest without a document is shown as a digest."""

    founding: Founding
    documents: Documents

    @cached_property
    def studies(self) -> Mapping[bytes, StudyPaper]:
        """Studies by the digest of their record."""
        return {
            digest: StudyPaper(digest, number_of(payload), payload)
            for digest, payload in self.documents.studies.items()
        }

    @property
    def plans(self) -> Mapping[bytes, Mapping[str, Any]]:
        """What plans say, by digest."""
        return self.documents.plans

    @cached_property
    def releases(self) -> Mapping[bytes, Pack]:
        """Evidence packs without a fault, by the digest of the release."""
        return {pack.release: pack for pack in self.documents.packs}

    def title(self, digest: bytes) -> str | None:
        """What a digest names, in a few words."""
        if study := self.studies.get(digest):
            return study.name
        if plan := self.plans.get(digest):
            return f"plan of {plan['study']}"
        if (pack := self.releases.get(digest)) and (plan := self.plans.get(pack.plan)):
            return f"{plan['model']} for {plan['study']}"
        return None

    def study_named(self, name: str) -> StudyPaper | None:
        """The study of this public name."""
        return next((one for one in self.studies.values() if one.name == name), None)

    def study_numbered(self, number: bytes) -> StudyPaper | None:
        """The study that consents carry under this number."""
        return next((one for one in self.studies.values() if one.number == number), None)

    def only(self, digests: Container[bytes]) -> Papers:
        """The same without documents that are not among these."""
        now = self.documents
        kept = replace(
            now,
            studies=_among(now.studies, digests),
            plans=_among(now.plans, digests),
            packs=tuple(pack for pack in now.packs if pack.release in digests),
            files=_among(now.files, digests),
            unusable=(),
        )
        return Papers(self.founding, kept)


class Shelf:
    """The documents of one folder, read again when a file came or changed."""

    def __init__(self, folder: Path, founding: Founding) -> None:
        """Read nothing yet."""
        self._places = [folder / place for place in PLACES]
        self._seen: list[tuple[str, int, int]] | None = None
        self.papers = Papers(founding, Documents())

    def refresh(self) -> Papers:
        """The documents as they are now. A pack is verified whole before it counts: seconds."""
        places = [place for place in self._places if place.is_dir()]
        seen = sorted(_marks(places))
        if seen != self._seen:
            self.papers = Papers(self.papers.founding, Documents.read(places))
            self._seen = seen
        return self.papers


def _marks(places: Iterable[Path]) -> Iterable[tuple[str, int, int]]:
    for place in places:
        for path in place.rglob("*"):
            status = path.stat()
            yield str(path), status.st_mtime_ns, status.st_size


def _among(values: Mapping[bytes, Any], digests: Container[bytes]) -> dict[bytes, Any]:
    return {digest: value for digest, value in values.items() if digest in digests}
