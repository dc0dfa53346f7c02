"""The reference: gradients of patients by torch.func, as close to the definition as code can be.

Each patient's mean loss is written down as a function of the weights and differentiated by
``vmap(grad(...))``. Slow, and what every other engine is compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from hospital_node.privacy.engines.losses import Loss
from hospital_node.privacy.engines.per_patient import Batch


class FunctionalGradients:
    """Gradients of any module that ``torch.func`` can vectorise."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        self._module = module
        self._loss = loss

    def __call__(self, batch: Batch) -> list[Tensor]:
        """Gradient of each patient's mean loss; see ``Gradients``."""
        weights = {name: each.detach() for name, each in self._module.named_parameters()}
        records = torch.bincount(batch.owners, minlength=batch.patients)
        within = torch.arange(len(batch.owners)) - (records.cumsum(0) - records)[batch.owners]
        place = (batch.owners, within)
        x, y, share = (
            each.new_zeros(batch.patients, int(records.max()), *each.shape[1:]).index_put_(
                place, each
            )
            for each in (batch.x, batch.y, batch.share)
        )
        gradients = vmap(grad(self._mean_loss), in_dims=(None, 0, 0, 0))(weights, x, y, share)
        return [gradients[name] for name in weights]

    def _mean_loss(self, weights: dict[str, Tensor], x: Tensor, y: Tensor, share: Tensor) -> Tensor:
        """Loss of one patient; records that only fill up the batch have share zero."""
        outputs = functional_call(self._module, weights, (x,))
        return (self._loss.of_records(outputs.reshape(y.shape), y) * share).sum()
