"""Clipped gradients of a dense network in closed form: numpy alone, no gradient per patient.

The gradient of one record for a layer is the outer product of what flows back (d) and what flowed
in (a, and 1 for the bias), so its squared norm is |d|^2 (|a|^2 + 1), and the clipped sum is one
matrix product of scaled records ("book-keeping": Bu et al. 2022, arXiv 2210.00038). A patient with
several records may have gradients that cancel; theirs are formed and measured, not estimated.

What flows is computed in the model's own precision, as in ``per_patient``. A gradient is the outer
product of exactly those numbers: its norm, its clipping and the sum are float64, so that the bound
holds however the network rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from hospital_node.privacy.engines.losses import LOGISTIC, Loss, Numbers
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

_NUMBERS_IN_CACHE = 192 * 2**10
"""Numbers per layer and block: large blocks make large products, which are the faster ones; a layer
of a block still fits a processor's last cache."""

_NUMBERS_AT_ONCE = 2**20
"""Gradients of patients with several records are formed for so many numbers at a time (8 MB)."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Records of consecutive patients, one column each: the vector units then run over records.

    Attributes:
        patients: Whose records these are.
        records: Which records.
        x: Inputs and a last row of ones, which the bias is the weight of.
        exact: The same numbers in float64.
        squares: Squared lengths of the columns.
        y: Targets.
    """

    patients: slice
    records: slice
    x: Numbers
    exact: Floats
    squares: Floats
    y: Numbers


@dataclass(frozen=True, slots=True)
class _Room:
    """Where a hidden layer computes, block after block: fresh memory would cost more than it."""

    active: Numbers
    flow: Numbers
    exact: Floats
    exact_flow: Floats

    @classmethod
    def of(cls, width: int, records: int, dtype: np.dtype[Any]) -> _Room:
        shapes = (width + 1, records), (width, records)
        active, flow = (np.empty(shape, dtype) for shape in shapes)
        if dtype == np.float64:
            return cls(active, flow, active, flow)
        return cls(active, flow, *(np.empty(shape) for shape in shapes))


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
        dtype: The model's precision.

    The weights are laid out as torch does: layer by layer, weight [out, in] row by row, then bias.
    Everything is computed for everyone, included or not, so that neither a result nor its time
    tells who else takes part. Faulty patients count as zero, as everywhere.

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
        dtype: DTypeLike = np.float64,
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
            x = x.astype(dtype).astype(np.float64)  # the model's rounding is part of the record
            faulty = ~np.isfinite(np.einsum("nd,nd->n", x, x)) | ~loss.usable(y).all(axis=1)
        self._sound = self._members.sound(faulty)
        # Their numbers are emptied too, before any arithmetic: zero times NaN is NaN.
        empty = ~self._sound[self._members.owners][:, None]
        x = np.hstack([np.where(empty, 0.0, x), np.ones((len(x), 1))])
        self._dtype = np.dtype(dtype)
        self._blocks = list(self._cut(x, np.where(empty, 0.0, y)))
        records = max((block.y.shape[1] for block in self._blocks), default=0)
        self._rooms = [_Room.of(width, records, self._dtype) for width in hidden]

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

    def forget(self, patient: int) -> None:
        """Overwrite a patient's records, and what was computed of them last."""
        self._sound[patient] = False
        rows = self._members.of_patient(patient)
        for block in self._blocks:
            start, end = (row - block.records.start for row in (rows.start, rows.stop))
            if start >= 0 and end <= block.y.shape[1]:
                for numbers in (block.x, block.exact, block.squares, block.y):
                    numbers[..., start:end] = 0.0
        for room in self._rooms:
            for numbers in (room.active, room.flow, room.exact, room.exact_flow):
                numbers.fill(0.0)

    def _of_single_records(
        self, weights: Floats, include: Mask, *, looking_for_faults: bool = False
    ) -> Floats:
        layers = self._layers(weights)
        sums = [np.zeros(layer.shape) for layer in layers]
        allowed = self._bound * include
        for block in self._blocks:
            inputs, flows, scale = self._flow(layers, block)
            squares = block.squares * _squares(flows[0])
            for entering, flow in zip(inputs[1:], flows[1:], strict=True):
                squares += _squares(entering) * _squares(flow)
            squares *= scale * scale
            if looking_for_faults:
                faulty = ~np.isfinite(squares)
                for rows in (squares, scale, *inputs[1:], *flows):
                    rows[..., faulty] = 0.0
            np.maximum(squares, self._bound**2, out=squares)
            factor = allowed[block.patients] / np.sqrt(squares, out=squares)
            factor *= scale
            for summed, entering, flow in zip(sums, inputs, flows, strict=True):
                # The factor goes to whichever side is narrower; the product is the same.
                narrow = len(entering) < len(flow)
                product = flow @ (entering * factor).T if narrow else (flow * factor) @ entering.T
                np.add(summed, product, out=summed)
        return np.concatenate(
            [part for each in sums for part in (each[:, :-1].ravel(), each[:, -1])]
        )

    def _of_many_records(self, weights: Floats, include: Mask) -> Floats:
        layers, total = self._layers(weights), np.zeros(self.dimension)
        shares = self._members.share()
        for block in self._blocks:
            inputs, flows, scale = self._flow(layers, block)
            scale *= shares[block.records]
            parts = []
            for entering, flow in zip(inputs, flows, strict=True):
                weighted = (flow * scale).T
                outer = weighted[:, :, None] * entering[:-1].T[:, None, :]
                parts += [outer.reshape(scale.size, -1), weighted]
            having = self._members.records[block.patients] > 0
            starts = self._members.offsets[:-1][block.patients][having] - block.records.start
            gradients = np.add.reduceat(np.hstack(parts), starts, axis=0)
            total += clipped_rows(gradients, include[block.patients][having], bound=self._bound)
        return total

    def _flow(
        self, layers: list[Numbers], block: _Block
    ) -> tuple[list[Floats], list[Floats], Floats]:
        """What enters each layer, what flows back into its outputs, and a factor for both.

        In float64, [width, records]; good until the next block. With one output the residual is
        that factor, and the flow is that of the output itself: a pass over all hidden units less.
        """
        inputs, exact = [block.x], [block.exact]
        count = block.y.shape[1]
        for layer, room in zip(layers[:-1], self._rooms, strict=True):
            active = room.active[:, :count]
            hidden = np.matmul(layer, inputs[-1], out=active[:-1])
            np.tanh(hidden, out=hidden) if self._tanh else np.maximum(hidden, 0.0, out=hidden)
            active[-1] = 1.0
            inputs.append(active)
            exact.append(_exactly(active, room.exact[:, :count]))
        residual: Numbers = self._residual(layers[-1] @ inputs[-1], block.y)
        alone = len(residual) == 1
        flow: Numbers = np.ones_like(residual) if alone else residual
        flows = [flow.astype(np.float64)]
        for layer, active, room in zip(
            layers[:0:-1], inputs[:0:-1], self._rooms[::-1], strict=True
        ):
            hidden, back, out = active[:-1], layer[:, :-1].T, room.flow[:, :count]
            slope = np.multiply(hidden, hidden, out=out) if self._tanh else hidden > 0.0
            if self._tanh:
                np.subtract(1.0, out, out=out)
            through = back if alone and len(flows) == 1 else back @ flow
            flow = np.multiply(slope, through, out=out)
            flows.append(_exactly(flow, room.exact_flow[:, :count]))
        scale = residual[0] if alone else np.ones(count)
        return exact, flows[::-1], scale.astype(np.float64)

    def _layers(self, flat: Floats) -> list[Numbers]:
        """Weight [out, in] of each layer with its bias as a last column."""
        layers, start = [], 0
        for before, after in pairwise(self._widths):
            layer = np.empty((after, before + 1), self._dtype)
            middle, end = start + before * after, start + (before + 1) * after
            layer[:, :-1] = flat[start:middle].reshape(after, before)
            layer[:, -1] = flat[middle:end]
            layers.append(layer)
            start = end
        return layers

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
            exact = np.ascontiguousarray(x[rows].T)
            targets = np.ascontiguousarray(y[rows].T, self._dtype)
            yield _Block(patients, rows, exact.astype(self._dtype), exact, _squares(exact), targets)


def _exactly(numbers: Numbers, room: Floats) -> Floats:
    """The same numbers in float64."""
    if numbers.dtype != np.float64:
        np.copyto(room, numbers)
    return room


def _squares(columns: Floats) -> Floats:
    """Squared length of each column."""
    squares: Floats = np.einsum("dn,dn->n", columns, columns)
    return squares
