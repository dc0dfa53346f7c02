"""Which releases a patient's data was set aside for. Known at this node only, under sealed names.

The patients' accounts keep one bit for each patient and release, under a name that only the site
key makes. Set aside is the most that can be: who withdrew before the first step, or in the middle,
is in fewer steps or none, and the whole price stays charged.
"""

from __future__ import annotations

import json
import math
from contextlib import closing
from pathlib import Path

from consent.completions import Used
from hospital_node import watch
from hospital_node.paths import NodePaths
from hospital_node.privacy import tombstones
from hospital_node.privacy.lifetime import LIFETIME_DELTA, Lifetime
from twinward import gdp
from twinward.errors import UsageError
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.rpc.messages_pb2 import Blob
from twinward.signing import Identity

_NOT_RUNNING = "TW1040"
_TRAINING, _EVALUATION, _SHARD = "training of ", "evaluation of ", ", shard "
_PICO = 1e12


def training_of(study: str, *, shard: int | None = None) -> str:
    """What a run is called in the patients' accounts."""
    return _TRAINING + study + ("" if shard is None else f"{_SHARD}{shard}")


def evaluation_of(study: str) -> str:
    """What measuring a model is called there."""
    return _EVALUATION + study


def of(lifetime: Lifetime, identity: Identity, record: RecordNumber) -> tuple[Used, ...]:
    """Every release that this patient was charged for, oldest name first.

    A release that the accounts have forgotten counts for everyone; its study is then not known.
    """
    (name,) = tombstones.names(identity.derive(tombstones.PURPOSE), [record])
    return tuple(
        Used(
            run=part.run,
            study=_study(part.what),
            trains=part.what.startswith(_TRAINING),
            epsilon=round(gdp.epsilon_of(math.sqrt(part.pico_mu2 / _PICO), LIFETIME_DELTA), 4),
            delta=LIFETIME_DELTA,
            shard=_shard(part.what),
        )
        for part in lifetime.parts_of(name)
        if part.pico_mu2
    )


def known(folder: Path, record: RecordNumber) -> tuple[tuple[Used, ...], bool]:
    """The same, asked of the daemon or read from the files; and whether the daemon is up.

    Raises:
        UsageError: TW1050 no node here, TW1041 its daemon does not answer.
        BudgetError: TW4106, TW4107, TW4311.
    """
    question = Blob(data=json.dumps({"parts": record}).encode())
    try:
        found = watch.ask(folder, lambda node: node.Account(question, timeout=30))
    except UsageError as error:
        if error.code != _NOT_RUNNING:
            raise
        return read(folder, record), False
    return tuple(Used(**one) for one in found["parts"]), True


def read(folder: Path, record: RecordNumber) -> tuple[Used, ...]:
    """The same, from the files of a node that is not up."""
    path = NodePaths(folder).accounts
    if not path.exists():
        return ()
    identity = Organisation(folder).identity()
    key = identity.derive(tombstones.PURPOSE)
    with closing(Lifetime(path, key=key, records=(), limit_mu2=0.0)) as lifetime:
        return of(lifetime, identity, record)


def others_of(
    lifetime: Lifetime, identity: Identity, record: RecordNumber, used: Used
) -> list[str]:
    """Runs of the same shard in which this patient has no part, by this node's own accounts."""
    if used.shard is None or used.study is None:
        return []
    mine = {one.run for one in of(lifetime, identity, record)}
    every = lifetime.runs_of(training_of(used.study, shard=used.shard))
    return [run for run in every if run not in mine]


def _study(what: str) -> str | None:
    for prefix in (_TRAINING, _EVALUATION):
        if what.startswith(prefix):
            return what.removeprefix(prefix).partition(_SHARD)[0]
    return None


def _shard(what: str) -> int | None:
    number = what.partition(_SHARD)[2]
    return int(number) if number else None
