"""Any other module through Opacus: its hooks give gradients per record, patients add up their own.

Nothing else of Opacus is used: its optimiser divides by an expected batch size, its noise comes
from a predictable generator, and its ghost clipping (``ghost``) only measures.
"""

from __future__ import annotations

import warnings

from opacus import GradSampleModule
from torch import Tensor, nn

from hospital_node.privacy.engines.losses import Loss
from hospital_node.privacy.engines.per_patient import Batch, no_gradient


class HookGradients:
    """Gradients of a module whose layers Opacus knows, or can vectorise one by one."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        self._named = list(module.named_parameters())
        self._loss = loss
        self._module = GradSampleModule(module, loss_reduction="sum")

    def __call__(self, batch: Batch) -> list[Tensor]:
        """Gradient of each patient's mean loss; see ``Gradients``.

        Raises:
            BudgetError: TW4203, Opacus found no gradient per record for a parameter.
        """
        self._module.zero_grad(set_to_none=True)
        with warnings.catch_warnings():
            # Inputs need no gradients of their own; Opacus' hooks work all the same.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            total = batch.losses(self._module(batch.x), self._loss).sum()
            total.backward()  # type: ignore[no-untyped-call]
        gradients = []
        for name, parameter in self._named:
            per_record = getattr(parameter, "grad_sample", None)
            if not isinstance(per_record, Tensor):
                raise no_gradient(name)
            gradients.append(batch.by_patient(per_record))
        self._module.zero_grad(set_to_none=True)
        return gradients
