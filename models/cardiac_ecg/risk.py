"""The models over the electrocardiogram as the registry gives them out: limits and arithmetic.

One convolution over twelve leads, group normalisation (no patient sees another), and one log-odds
from where in the beat each filter answers: 585 weights. Noise grows with the square root of their
number, so a network that is to be trained privately over a few hundred people has to be small.
Weights are flat, in torch's order: filters [filters, leads, kernel], their biases, scale and shift
of the normalisation, output weights [filters, places], output bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.cardiac_ecg.beats import AFTER, BEFORE, HERTZ, LEADS, middle_beat
from models.cardiac_risk.risk import sigmoid
from models.start import chance
from twinward.errors import TwinModelError
from twinward.ids import OrgName

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float64]

RECORDING = "ecg"
"""The column of recordings, [patients, leads, times] in millivolts at ``HERTZ``."""

FILTERS, KERNEL, GROUPS = 8, 5, 2
POOL_FIRST, POOL_LAST = 2, 4
SCALE = 0.8
"""Millivolts: a beat enters as ``1.5 tanh(mV / 0.8)``, bounded whatever was recorded."""
REACH = 1.5
_PLACES = (BEFORE + AFTER) // POOL_FIRST // POOL_LAST
_NORMALISED_FROM = 1e-5
_LIMITS = (
    "Not a medical device; not for decisions about a patient. An infarction can look normal here.",
    "Describes groups like those it was trained on. Claims no causes and answers no what-if.",
    "Sees one middle beat: no rhythm, no change over time, nothing about when an infarction was.",
    "Learnt to tell clear cases from normal recordings; whatever lies between was left out.",
    "The form of the network was chosen on other splits of the same PTB-XL records.",
    "The recordings of PTB-XL are of 1984 to 2001, from devices of one maker.",
)


class EcgRisk:
    """Probability of a finding in a recording of twelve leads. A risk model and not a twin.

    ``usual`` is a public guess at how many of those who are recorded have the finding, and the
    probability above which a recording stands out; ``start_bias`` its log-odds.
    """

    kind = "risk"
    limits = _LIMITS

    def __init__(
        self, name: str, *, title: str, finding: str, label: str, usual: float, start_bias: float
    ) -> None:
        self.name = name
        self.usual = usual
        self.title = title
        self.intended_use = (
            f"Research. Ranks recordings by the probability that a cardiologist would report "
            f"{finding}, among recordings that show either that or nothing abnormal."
        )
        self._label = label
        self._start_bias = start_bias

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant of the model, as JSON values; goes into the plan."""
        del sites
        return {
            "name": self.name,
            "kind": self.kind,
            "leads": list(LEADS),
            "hertz": HERTZ,
            "samples_before": BEFORE,
            "samples_after": AFTER,
            "scale_mv": SCALE,
            "reach": REACH,
            "filters": FILTERS,
            "kernel": KERNEL,
            "groups": GROUPS,
            "pooled": [POOL_FIRST, POOL_LAST],
            "label": self._label,
            "usual": self.usual,
            "start_bias": self._start_bias,
            "start_rule": (
                "filters: SHAKE-256 of `twinward/cardiac_ecg/1/start`, even on (-1, 1) / "
                "sqrt(leads x kernel); scale of the normalisation 1; output bias start_bias; "
                "all else 0"
            ),
        }

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """What each weight belongs to, in order."""
        del sites
        filters = range(FILTERS)
        return (
            *(f"filter_{f}_{lead}_{k}" for f in filters for lead in LEADS for k in range(KERNEL)),
            *(f"filter_{f}_bias" for f in filters),
            *(f"filter_{f}_scale" for f in filters),
            *(f"filter_{f}_shift" for f in filters),
            *(f"output_filter_{f}_place_{place}" for f in filters for place in range(_PLACES)),
            "output_bias",
        )

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """The first weights: public chance in the filters; untrained it says the public guess."""
        width = len(spec["leads"]) * int(spec["kernel"])
        filters = int(spec["filters"])
        first = chance("twinward/cardiac_ecg/1/start", filters * width) / np.sqrt(width)
        after = np.zeros(3 * filters + filters * _PLACES + 1)
        after[filters : 2 * filters] = 1.0
        after[-1] = float(spec["start_bias"])
        return np.concatenate([first, after])

    def module(self, sites: Sequence[OrgName]) -> nn.Module:
        """The network in torch, for the engines that sum patients' gradients."""
        del sites
        from models.cardiac_ecg.module import network  # noqa: PLC0415 - torch

        return network()

    def record_shape(self, sites: Sequence[OrgName]) -> tuple[int, ...]:
        """Leads and samples of a middle beat."""
        del sites
        return len(LEADS), BEFORE + AFTER

    def encode(
        self, columns: Mapping[str, Floats], *, site: OrgName | None, sites: Sequence[OrgName]
    ) -> Floats:
        """Recordings to middle beats, [patients, leads, samples], finite and bounded.

        Raises:
            TwinModelError: TW7003, there are no recordings of twelve leads.
        """
        del site
        recordings = columns.get(RECORDING)
        if recordings is None or recordings.ndim != 3 or recordings.shape[1] != len(LEADS):
            raise _no_column(RECORDING)
        if not len(recordings):
            return np.zeros((0, *self.record_shape(sites)))
        return REACH * np.tanh(np.stack([middle_beat(each) for each in recordings]) / SCALE)

    def labels(self, columns: Mapping[str, Floats]) -> Floats:
        """1.0 the finding, 0.0 a normal recording, NaN anything else.

        Raises:
            TwinModelError: TW7003, the column of the label is not there.
        """
        if self._label not in columns:
            raise _no_column(self._label)
        return np.asarray(columns[self._label], dtype=np.float64)

    def predict(self, weights: Floats, x: Floats) -> Floats:
        """Probability of the finding per middle beat; what the torch module says."""
        width = FILTERS * len(LEADS) * KERNEL
        filters, bias, scale, shift, output = np.split(
            weights, np.cumsum([width, FILTERS, FILTERS, FILTERS])
        )
        halved = _pooled(x, POOL_FIRST)
        around = np.pad(halved, ((0, 0), (0, 0), (KERNEL // 2, KERNEL // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(around, KERNEL, axis=2)
        answers = np.einsum(
            "nltk,flk->nft", windows, filters.reshape(FILTERS, len(LEADS), KERNEL), optimize=True
        )
        groups = (answers + bias[:, None]).reshape(len(x), GROUPS, -1)
        spread = np.sqrt(groups.var(axis=2, keepdims=True) + _NORMALISED_FROM)
        normal = ((groups - groups.mean(axis=2, keepdims=True)) / spread).reshape(answers.shape)
        active = np.maximum(normal * scale[:, None] + shift[:, None], 0.0)
        places = _pooled(active, POOL_LAST).reshape(len(x), -1)
        return sigmoid(places @ output[:-1] + output[-1])


INFARCTION = EcgRisk(
    "ecg_infarction/1",
    title="Myocardial infarction in the electrocardiogram",
    finding="a myocardial infarction, new or old",
    label="infarction",
    usual=0.2,
    start_bias=-1.4,
)
ABNORMALITY = EcgRisk(
    "ecg_abnormality/1",
    title="An abnormal electrocardiogram",
    finding="an infarction, hypertrophy, a conduction disturbance or changes of ST and T",
    label="abnormality",
    usual=0.4,
    start_bias=-0.4,
)


def _pooled(x: Floats, width: int) -> Floats:
    mean: Floats = x.reshape(*x.shape[:2], -1, width).mean(axis=3)
    return mean


def _no_column(name: str) -> TwinModelError:
    return TwinModelError(
        f"the records have no column `{name}`",
        code="TW7003",
        help="give a folder of recordings laid out as PTB-XL is",
    )
