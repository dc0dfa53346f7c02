"""Sums for torch modules: gradients per patient from any source, clipped and added in one place.

How a gradient is computed differs (layer by layer, Opacus, torch.func); what bounds a patient does
not. A gradient is whatever vector the source returns for a patient; the norm of that very vector is
measured in float64 and the sum is taken in float64, so the bound holds however a source rounds.

A float32 module rounds a record differently at another place of a batch. There every patient keeps
their place, included or not, and a sampled step costs as much as a full one; in float64 the
difference is far below the slack of the norm, and only included patients are computed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hospital_node.privacy.engines.losses import LOGISTIC, Loss
from hospital_node.privacy.engines.patients import (
    Floats,
    Indices,
    Mask,
    Patients,
    aim,
    misfit,
    require_call,
)
from twinward.errors import BudgetError

_NUMBERS_AT_ONCE = 960 * 2**10
"""Inputs and gradients of one batch. Small batches stay in cache: a 12-lead network is twice as
fast with 16 records at once as with 64."""


@dataclass(frozen=True, slots=True)
class Batch:
    """All records of some patients.

    Attributes:
        x: Inputs, [records, ...], in the module's precision.
        y: Targets, [records, outputs].
        share: Weight of each record in its patient's mean.
        owners: Which of these patients each record is of, ascending.
        patients: How many patients these are.
        one_each: Whether each of them has exactly one record.
    """

    x: Tensor
    y: Tensor
    share: Tensor
    owners: Tensor
    patients: int
    one_each: bool

    def by_patient(self, per_record: Tensor) -> Tensor:
        """Sum what records contribute over the records of each patient."""
        if self.one_each:
            return per_record
        return per_record.new_zeros(self.patients, *per_record.shape[1:]).index_add_(
            0, self.owners, per_record
        )

    def losses(self, outputs: Tensor, loss: Loss) -> Tensor:
        """Loss of each record times its share: a patient's add up to the patient's mean loss."""
        return loss.of_records(outputs.reshape(self.y.shape), self.y) * self.share


class Gradients(Protocol):
    """Where gradients of patients come from."""

    def __call__(self, batch: Batch) -> list[Tensor]:
        """Gradient of each patient's mean loss: [patients, ...] for every parameter in order."""
        ...


class TorchRecords:
    """Records of a cohort as tensors; faulty patients are emptied before anything is computed.

    Raises:
        BudgetError: TW4010, records, targets or owners do not fit; TW4011, too many patients.
    """

    def __init__(
        self, x: NDArray[np.floating], y: Floats, *, owner: Indices | None, loss: Loss,
        module: nn.Module,
    ) -> None:  # fmt: skip
        if x.ndim < 2 or y.shape[:1] != x.shape[:1] or y.ndim not in {1, 2}:
            raise misfit("records and targets differ in number")
        self.members = Patients.of(len(x), owner)
        parameters = list(module.parameters())
        dtype = parameters[0].dtype
        targets = self.members.sort(y if y.ndim == 2 else y[:, None])
        inputs = torch.tensor(self.members.sort(x), dtype=dtype)
        finite = inputs.isfinite().flatten(1).all(dim=1).numpy()
        self.sound = self.members.sound(~(finite & loss.usable(targets).all(axis=1)))
        # Their numbers are emptied too, before any arithmetic: zero times NaN is NaN.
        empty = ~self.sound[self.members.owners]
        self._x = inputs.masked_fill(_column(empty, inputs.ndim), 0.0)
        self._y = torch.from_numpy(np.where(empty[:, None], 0.0, targets)).to(dtype)
        self._share = torch.from_numpy(self.members.share()).to(dtype)
        self._keeps_places = dtype != torch.float64
        numbers = int(np.prod(x.shape[1:])) + sum(each.numel() for each in parameters)
        self._at_once = max(8, _NUMBERS_AT_ONCE // numbers)

    def forget(self, patient: int) -> None:
        """Overwrite a patient's records, who counts as zero from then on."""
        rows = self.members.of_patient(patient)
        self._x[rows] = 0.0
        self._y[rows] = 0.0
        self.sound[patient] = False

    def batches(self, include: Mask) -> Iterator[tuple[Batch, Mask]]:
        """Batches that together hold every included patient, with who of them is to count."""
        include = include & self.sound
        for block in self.members.blocks(self._at_once):
            included = include[block]
            if self._keeps_places and included.any():
                yield self._batch(np.arange(block.start, block.stop)), included
        if not self._keeps_places:
            for chosen in self._chosen(include):
                yield self._batch(chosen), np.ones(chosen.size, dtype=bool)

    def _chosen(self, include: Mask) -> Iterator[Indices]:
        """Included patients who have records, some at a time."""
        records = self.members.records
        chosen = np.flatnonzero(include & (records > 0))
        block = (np.cumsum(records[chosen]) - records[chosen]) // self._at_once
        if chosen.size:
            yield from np.split(chosen, np.flatnonzero(np.diff(block)) + 1)

    def _batch(self, patients: Indices) -> Batch:
        counts = self.members.records[patients]
        starts = self.members.offsets[patients]
        skipped = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        rows = torch.from_numpy(np.arange(counts.sum()) + skipped)
        owners = torch.from_numpy(np.repeat(np.arange(patients.size), counts))
        return Batch(
            x=self._x[rows],
            y=self._y[rows],
            share=self._share[rows],
            owners=owners,
            patients=patients.size,
            one_each=bool((counts == 1).all()),
        )


class TorchClippedSum:
    """Clipped patient gradients of a torch module, in the layout of its parameters.

    Args:
        module: Copied; weights come with each call.
        x: Records, [records, ...].
        y: Targets, [records] or [records, outputs].
        gradients: Makes the source of gradients from the copy and the loss.
        loss: Loss of one record.
        max_grad_norm: Norm C to which a patient's gradient is clipped.
        owner: Index of the patient per record, 0 to P - 1; by default one record per patient.

    A batch holds at least one patient with all records: cap records per patient beforehand.

    Raises:
        BudgetError: TW4010, arguments do not fit together; TW4011, too many patients.
    """

    def __init__(
        self,
        module: nn.Module,
        x: NDArray[np.floating],
        y: Floats,
        *,
        gradients: Callable[[nn.Module, Loss], Gradients],
        max_grad_norm: float,
        loss: Loss = LOGISTIC,
        owner: Indices | None = None,
    ) -> None:
        self._module = copy.deepcopy(module).train()
        self._parameters = list(self._module.parameters())
        self._records = TorchRecords(x, y, owner=owner, loss=loss, module=self._module)
        self.patients = self._records.members.count
        self.sensitivity = float(max_grad_norm)
        self.dimension = sum(parameter.numel() for parameter in self._parameters)
        self._bound = aim(max_grad_norm)
        self._gradients = gradients(self._module, loss)
        self._room = torch.empty(0, self.dimension, dtype=torch.float64)

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over included patients; see ``ClippedSum``.

        Raises:
            BudgetError: TW4010, mask or weights do not fit; TW4012, the weights are not finite.
        """
        require_call(weights, include, dimension=self.dimension, patients=self.patients)
        load(self._parameters, weights)
        total = torch.zeros(self.dimension, dtype=torch.float64)
        for batch, included in self._records.batches(include):
            gradients = self._gradients(batch)
            with torch.no_grad():
                rows = self._rows(batch.patients)
                columns = torch.split(rows, [each[0].numel() for each in gradients], dim=1)
                for column, gradient in zip(columns, gradients, strict=True):
                    column.copy_(gradient.flatten(1))
                total += clipped(rows, torch.from_numpy(included), bound=self._bound)
        summed: Floats = total.numpy()
        return summed

    def forget(self, patient: int) -> None:
        """Overwrite a patient's records, and what was computed of them last."""
        self._records.forget(patient)
        self._room.zero_()

    def _rows(self, patients: int) -> Tensor:
        """Room for gradients in float64, used again: fresh memory would cost more than the sum."""
        if len(self._room) < patients:
            self._room = torch.empty(patients, self.dimension, dtype=torch.float64)
        return self._room[:patients]


def clipped(rows: Tensor, include: Tensor, *, bound: float) -> Tensor:
    """Sum of the included patients' gradients, each clipped to the bound; may empty rows.

    Patients whose gradient, or its square, is not finite contribute zero.
    """
    norms = torch.linalg.vector_norm(rows, dim=1)
    usable = norms.isfinite()
    if not usable.all():
        rows[~usable] = 0.0
        norms[~usable] = 0.0
    total: Tensor = (include * (bound / norms.clamp(min=bound))) @ rows
    return total


@torch.no_grad()
def load(parameters: list[nn.Parameter], weights: Floats) -> None:
    """Write a flat vector into parameters, in their order."""
    sizes = [parameter.numel() for parameter in parameters]
    parts = torch.split(torch.tensor(weights), sizes)
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.reshape(parameter.shape))


def weights_of(module: nn.Module) -> Floats:
    """The module's parameters as one flat vector, the layout of every engine's weights and sums."""
    parts = [parameter.detach().reshape(-1).double() for parameter in module.parameters()]
    flat: Floats = torch.cat(parts).numpy()
    return flat


def no_gradient(name: str) -> BudgetError:
    """The refusal of a parameter for which a source found no gradient."""
    return BudgetError(
        f"no gradient per patient was found for the parameter `{name}`",
        code="TW4203",
        help="use it in the forward pass through a layer of its own, or take it out of the model",
    )


def _column(rows: Mask, dimensions: int) -> Tensor:
    return torch.from_numpy(rows).reshape(-1, *[1] * (dimensions - 1))
