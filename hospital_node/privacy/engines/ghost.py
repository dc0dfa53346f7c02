"""Opacus' ghost clipping: norms without gradients per record, then one backward with weights.

For models too large to hold a gradient per record. The price: one record per patient, because
norms of several records do not add up, and float64, because the sum is Opacus' own.
(Li et al. 2021, arXiv 2110.05679; Bu et al. 2022, arXiv 2210.00038.)
"""

from __future__ import annotations

import copy
import dataclasses
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from hospital_node.privacy.engines.losses import LOGISTIC, Loss
from hospital_node.privacy.engines.patients import Floats, Indices, Mask, aim, require_call
from hospital_node.privacy.engines.per_patient import Batch, TorchRecords, load, no_gradient
from twinward.errors import BudgetError


class GhostClippedSum:
    """As ``TorchClippedSum``, for one record per patient; computes in float64.

    Raises:
        BudgetError: TW4010, arguments do not fit together; TW4011, too many patients; TW4202, a
            patient has several records.
    """

    def __init__(
        self,
        module: nn.Module,
        x: NDArray[np.floating],
        y: Floats,
        *,
        max_grad_norm: float,
        loss: Loss = LOGISTIC,
        owner: Indices | None = None,
    ) -> None:
        exact = copy.deepcopy(module).double().train()
        self._records = TorchRecords(x, y, owner=owner, loss=loss, module=exact)
        if not self._records.members.one_each:
            raise BudgetError(
                "ghost clipping cannot take the patient as the unit: someone has several records",
                code="TW4202",
                help="use the engine `opacus`, which adds up a patient's records before clipping",
            )
        self._named = list(exact.named_parameters())
        self._linears = [layer for layer in exact.modules() if type(layer) is nn.Linear]
        self.patients = self._records.members.count
        self.sensitivity = float(max_grad_norm)
        self.dimension = sum(parameter.numel() for _, parameter in self._named)
        self._bound = aim(max_grad_norm)
        self._loss = loss
        self._module = GradSampleModuleFastGradientClipping(
            exact, max_grad_norm=self._bound, loss_reduction="sum", use_ghost_clipping=True
        )

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over included patients; see ``ClippedSum``.

        Raises:
            BudgetError: TW4010, mask or weights do not fit; TW4012, the weights are not finite;
                TW4204, the model has layers whose norms are not measured safely.
        """
        require_call(weights, include, dimension=self.dimension, patients=self.patients)
        load([parameter for _, parameter in self._named], weights)
        total = torch.zeros(self.dimension, dtype=torch.float64)
        for batch, _ in self._records.batches(include):
            total += self._clipped(batch)
        summed: Floats = total.numpy()
        return summed

    def forget(self, patient: int) -> None:
        """Overwrite a patient's records; see ``clipped_sum.ClippedSum``."""
        self._records.forget(patient)
        self._forget()

    def _clipped(self, batch: Batch) -> Tensor:
        if not batch.patients:
            return torch.zeros(self.dimension, dtype=torch.float64)
        self._forget()
        with warnings.catch_warnings():
            # Inputs need no gradients of their own; Opacus' hooks work all the same.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            losses = batch.losses(self._module(batch.x), self._loss)
            self._require_safe_norms()
            losses.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
            norms = self._module.get_norm_sample().detach()
            usable = norms.isfinite()
            if not usable.all():
                # Once more without them: zero times NaN would be NaN in the sum.
                return self._clipped(_some(batch, usable))
            self._forget()
            self._module.disable_hooks()
            try:
                weighted = (self._bound / norms.clamp(min=self._bound) * losses).sum()
                weighted.backward()
            finally:
                self._module.enable_hooks()
        return torch.cat([self._summed(name, each) for name, each in self._named])

    def _require_safe_norms(self) -> None:
        """A Gram matrix over time can cancel to a norm that is too small."""
        for layer in self._linears:
            if any(entering[0].ndim > 2 for entering in getattr(layer, "activations", ())):
                raise BudgetError(
                    "ghost clipping measures layers over sequences by sums that can cancel",
                    code="TW4204",
                    help="use the engine `opacus`; its norms are taken from formed gradients",
                )

    def _summed(self, name: str, parameter: nn.Parameter) -> Tensor:
        if parameter.grad is None:
            raise no_gradient(name)
        return parameter.grad.reshape(-1)

    def _forget(self) -> None:
        """Clear gradients and what the hooks keep, also after a call that failed half-way."""
        self._module.zero_grad(set_to_none=True)
        for _, parameter in self._named:
            parameter.grad = None
            vars(parameter)["_forward_counter"] = 0  # Opacus offers no other way
        for layer in self._module.modules():
            if hasattr(layer, "activations"):
                del layer.activations


def _some(batch: Batch, chosen: Tensor) -> Batch:
    """The chosen patients of a batch in which everyone has one record."""
    return dataclasses.replace(
        batch,
        x=batch.x[chosen],
        y=batch.y[chosen],
        share=batch.share[chosen],
        owners=torch.arange(int(chosen.sum())),
        patients=int(chosen.sum()),
    )
