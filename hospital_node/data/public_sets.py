"""Public data sets that can be fetched: which files, whose, under which licence, which hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One public data set, pinned byte for byte.

    Attributes:
        title: What it is.
        licence: Under which it may be used.
        source: Whom to name: authors, year, DOI.
        files: SHA-256 of each file, by its name.
    """

    title: str
    licence: str
    source: str
    files: Mapping[str, str]


SETS: Mapping[str, PublicSet] = {
    "heart": PublicSet(
        title="UCI Heart Disease: 920 patients of four hospitals, 14 columns",
        licence="CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
        source="Janosi, Steinbrunn, Pfisterer, Detrano: Heart Disease. UCI Machine Learning"
        " Repository, 1989. https://doi.org/10.24432/C52P4X",
        files={
            "processed.cleveland.data": (
                "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8"
            ),
            "processed.hungarian.data": (
                "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796"
            ),
            "processed.switzerland.data": (
                "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314"
            ),
            "processed.va.data": (
                "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f"
            ),
        },
    ),
}
"""By the name that ``twinward data fetch`` takes."""
