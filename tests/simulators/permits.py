"""A cohort whose shares a test sets, in place of consents and a ledger."""

import numpy as np

from hospital_node.shares import ALL, mask_of


class Permits:
    """Everybody permits everything at first."""

    def __init__(self, patients):
        self.shares = np.full(patients, ALL, np.uint8)

    def mask(self):
        return mask_of(self.shares)

    def permitted(self):
        return mask_of(self.shares), self.shares.copy()
