"""Clipped gradients of a dense network in closed form: numpy alone, no gradient per patient.

The gradient of one record for a layer is the outer product of what flows back (d) and what flowed
in (a, and 1 for the bias), so its squared norm is |d|^2 (|a|^2 + 1), and the clipped sum is one
matrix product of scaled records ("book-keeping": Bu et al. 2022, arXiv 2210.00038). A patient with
several records may have gradients that cancel; theirs are formed and measured, not estimated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from hospital_node.privacy.engines.losses import LOGISTIC, Loss
from hospital_node.privacy.engines.patients import (
    Floats,
    Indices,
    Mask,
    Patients,
    aim,
    clipped_rows,
    misfit,
    require_call,
)

Activation = Literal["tanh", "relu"]
_Layer = tuple[Floats, Floats]

_NUMBERS_IN_CACHE = 15 * 2**10
"""Numbers per layer and block: 120 KB stay in the processor's cache, and below what an allocator
returns to the system at once, whose fresh pages then cost more than the work itself."""

_NUMBERS_AT_ONCE = 2**20
"""Gradients of patients with several records are formed for so many numbers at a time (8 MB)."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Records of consecutive patients, one column each: the vector units then run over records."""

    patients: slice
    records: slice
    x: Floats
    y: Floats
    squares: Floats


class MlpClippedSum:
    """Dense layers with biases, ``tanh`` or ``relu`` between them, the loss on the last outputs.

    Args:
        x: Encoded records, [records, inputs].
        y: Targets, [records] or [records, outputs].
        hidden: Widths of the hidden layers; none makes a linear model with intercept.
        activation: What stands after each hidden layer.
        loss: One with a closed residual.
        max_grad_norm: Norm C to which a patient's gradient is clipped.
        owner: Index of the patient per record, 0 to P - 1; by default one record per patient.

    The weights are laid out as torch does: layer by layer, weight [out, in] row by row, then bias.
    Everything is computed in float64 and for everyone, included or not, so that neither a result
    nor its time tells who else takes part. Faulty patients count as zero, as everywhere.

    Raises:
        BudgetError: TW4010, shapes, owners or norm do not fit together; TW4011, too many patients.
    """

    def __init__(
        self,
        x: Floats,
        y: Floats,
        *,
        hidden: Sequence[int],
        max_grad_norm: float,
        activation: Activation = "tanh",
        loss: Loss = LOGISTIC,
        owner: Indices | None = None,
    ) -> None:
        if x.ndim != 2 or y.shape[:1] != x.shape[:1] or y.ndim not in {1, 2}:
            raise misfit("records and targets differ in number")
        if loss.residual is None:
            raise misfit(f"the loss `{loss.name}` has no closed residual")
        self._members = Patients.of(len(x), owner)
        self.patients = self._members.count
        self.sensitivity = float(max_grad_norm)
        self._bound = aim(max_grad_norm)
        self._residual = loss.residual
        self._tanh = activation == "tanh"
        y = y if y.ndim == 2 else y[:, None]
        self._widths = (x.shape[1], *hidden, y.shape[1])
        self.dimension = sum((before + 1) * after for before, after in pairwise(self._widths))
        x, y = self._members.sort(x), self._members.sort(y)
        with np.errstate(over="ignore", invalid="ignore"):
            faulty = ~np.isfinite(np.einsum("nd,nd->n", x, x)) | ~loss.usable(y).all(axis=1)
        self._sound = self._members.sound(faulty)
        # Their numbers are emptied too, before any arithmetic: zero times NaN is NaN.
        empty = ~self._sound[self._members.owners][:, None]
        self._blocks = list(self._cut(np.where(empty, 0.0, x), np.where(empty, 0.0, y)))

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over included patients; see ``ClippedSum``.

        Raises:
            BudgetError: TW4010, mask or weights do not fit; TW4012, the weights are not finite.
        """
        require_call(weights, include, dimension=self.dimension, patients=self.patients)
        include = include & self._sound
        with np.errstate(over="ignore", invalid="ignore"):
            if not self._members.one_each:
                return self._of_many_records(weights, include)
            total = self._of_single_records(weights, include)
            if not np.isfinite(total).all():
                total = self._of_single_records(weights, include, looking_for_faults=True)
            return total

    def _of_single_records(
        self, weights: Floats, include: Mask, *, looking_for_faults: bool = False
    ) -> Floats:
        layers, total = self._layers(weights), np.zeros(self.dimension)
        sums = self._layers(total)
        allowed = self._bound * include
        for block in self._blocks:
            inputs, flows = self._flow(layers, block)
            squares = block.squares * np.einsum("dn,dn->n", flows[0], flows[0])
            for entering, flow in zip(inputs[1:], flows[1:], strict=True):
                inner = np.einsum("dn,dn->n", entering, entering) + 1.0
                squares += inner * np.einsum("dn,dn->n", flow, flow)
            if looking_for_faults:
                faulty = ~np.isfinite(squares)
                for rows in (squares, *inputs[1:], *flows):
                    rows[..., faulty] = 0.0
            factor = allowed[block.patients] / np.sqrt(np.maximum(squares, self._bound**2))
            for (matrix, bias), entering, flow in zip(sums, inputs, flows, strict=True):
                np.add(bias, flow @ factor, out=bias)
                # The factor goes to whichever side is narrower; the product is the same.
                narrow = len(entering) < len(flow)
                product = flow @ (entering * factor).T if narrow else (flow * factor) @ entering.T
                np.add(matrix, product, out=matrix)
        return total

    def _of_many_records(self, weights: Floats, include: Mask) -> Floats:
        layers, total = self._layers(weights), np.zeros(self.dimension)
        shares = self._members.share()
        for block in self._blocks:
            share = shares[block.records]
            parts = []
            for entering, flow in zip(*self._flow(layers, block), strict=True):
                weighted = (flow * share).T
                outer = weighted[:, :, None] * entering.T[:, None, :]
                parts += [outer.reshape(share.size, -1), weighted]
            having = self._members.records[block.patients] > 0
            starts = self._members.offsets[:-1][block.patients][having] - block.records.start
            gradients = np.add.reduceat(np.hstack(parts), starts, axis=0)
            total += clipped_rows(gradients, include[block.patients][having], bound=self._bound)
        return total

    def _flow(self, layers: list[_Layer], block: _Block) -> tuple[list[Floats], list[Floats]]:
        """What enters each layer, and what flows back into its outputs; [width, records]."""
        inputs = [block.x]
        for matrix, bias in layers[:-1]:
            active = matrix @ inputs[-1]
            active += bias[:, None]
            np.tanh(active, out=active) if self._tanh else np.maximum(active, 0.0, out=active)
            inputs.append(active)
        matrix, bias = layers[-1]
        flow = self._residual(matrix @ inputs[-1] + bias[:, None], block.y)
        flows = [flow]
        for (matrix, _), active in zip(layers[:0:-1], inputs[:0:-1], strict=True):
            # With one output the product has one term: multiplying is faster and the same.
            flow = matrix.T * flow if len(matrix) == 1 else matrix.T @ flow
            flow *= 1.0 - active * active if self._tanh else active > 0.0
            flows.append(flow)
        return inputs, flows[::-1]

    def _layers(self, flat: Floats) -> list[_Layer]:
        """Views of the flat vector: weight [out, in] and bias of each layer."""
        views, start = [], 0
        for before, after in pairwise(self._widths):
            middle, end = start + before * after, start + (before + 1) * after
            views.append((flat[start:middle].reshape(after, before), flat[middle:end]))
            start = end
        return views

    def _cut(self, x: Floats, y: Floats) -> Iterator[_Block]:
        """Fixed blocks of patients: as many as fit the cache, or memory if gradients are formed."""
        members = self._members
        if members.one_each:
            most = max(64, _NUMBERS_IN_CACHE // max(self._widths))
            blocks = max(1, math.ceil(members.count / most))
            records = math.ceil(members.count / blocks)
        else:
            records = max(1, _NUMBERS_AT_ONCE // self.dimension)
        for patients in members.blocks(records):
            rows = slice(members.offsets[patients.start], members.offsets[patients.stop])
            columns = np.ascontiguousarray(x[rows].T)
            squares = np.einsum("dn,dn->n", columns, columns) + 1.0
            yield _Block(patients, rows, columns, np.ascontiguousarray(y[rows].T), squares)
