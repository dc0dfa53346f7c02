"""The network as the registry gives it out: layers, public first weights, arithmetic.

One hidden layer of tanh units between the encoded inputs and one log-odds. Weights are flat, in
torch's order: hidden weights [units, inputs], hidden biases, output weights, output bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.cardiac_risk import encode as _encode
from models.cardiac_risk import inputs as _inputs
from models.cardiac_risk.risk import CardiacRisk, sigmoid
from models.start import chance
from twinward.ids import OrgName

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float64]

UNITS = 8
PRIOR_REACH = 4.0
"""The first unit carries the prior as ``4 tanh(prior / 4)``: nearly straight where patients are."""


class MlpRisk:
    """Probability that coronary angiography would show disease; may bend where a line cannot."""

    name = "mlp_risk/1"
    kind = "risk"
    title = "Risk of coronary heart disease, small neural network"
    intended_use = CardiacRisk.intended_use
    limits = (
        *CardiacRisk.limits,
        "One weight says nothing by itself: unlike the logistic model it cannot be read.",
    )

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant of the model, as JSON values; goes into the plan."""
        return {
            "name": self.name,
            "kind": self.kind,
            **_inputs.spec(sites),
            "units": UNITS,
            "activation": "tanh",
            "prior_reach": PRIOR_REACH,
            "start_rule": (
                "unit 0: start / prior_reach of every input, output weight prior_reach; others: "
                "SHAKE-256 of `twinward/mlp_risk/1/start`, even on (-1, 1) / sqrt(inputs), output "
                "weight 0; biases 0"
            ),
        }

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """What each weight belongs to, in order."""
        inputs = [each.name for each in _inputs.inputs(sites)]
        return (
            *(f"unit_{unit}_{name}" for unit in range(UNITS) for name in inputs),
            *(f"unit_{unit}_bias" for unit in range(UNITS)),
            *(f"output_unit_{unit}" for unit in range(UNITS)),
            "output_bias",
        )

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """The first weights: the textbook prior in one unit, public chance in the others.

        Elementary operations only, so that anyone recomputes the same bits. The others' output
        weights are 0: the untrained network says what the prior says.
        """
        prior = np.array([each["start"] for each in spec["inputs"]], dtype=np.float64)
        units, reach = int(spec["units"]), float(spec["prior_reach"])
        hidden = np.empty((units, prior.size))
        hidden[0] = prior / reach
        even = chance("twinward/mlp_risk/1/start", (units - 1) * prior.size)
        hidden[1:] = even.reshape(units - 1, -1) / np.sqrt(prior.size)
        output = np.zeros(units + 1)
        output[0] = reach
        return np.concatenate([hidden.ravel(), np.zeros(units), output])

    def module(self, sites: Sequence[OrgName]) -> nn.Module:
        """The network in torch, for the engines that sum patients' gradients."""
        from models.mlp_risk.module import network  # noqa: PLC0415 - torch

        return network(len(_inputs.inputs(sites)), UNITS)

    def record_shape(self, sites: Sequence[OrgName]) -> tuple[int, ...]:
        """Of one encoded record: a number for each input."""
        return (len(_inputs.inputs(sites)),)

    def encode(
        self, columns: _encode.Columns, *, site: OrgName | None, sites: Sequence[OrgName]
    ) -> Floats:
        """Records to rows of finite, bounded numbers; the same as for ``cardiac_risk``."""
        return _encode.encode(columns, site=site, sites=sites)

    def labels(self, columns: _encode.Columns) -> Floats:
        """1.0 disease, 0.0 none, NaN not recorded."""
        return _encode.labels(columns)

    def predict(self, weights: Floats, x: Floats) -> Floats:
        """Probability of disease per row of encoded records."""
        inputs = x.shape[1]
        hidden, bias, output = np.split(weights, [UNITS * inputs, UNITS * (inputs + 1)])
        active = np.tanh(x @ hidden.reshape(UNITS, inputs).T + bias)
        return sigmoid(active @ output[:-1] + output[-1])
