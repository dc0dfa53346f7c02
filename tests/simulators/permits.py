"""A cohort whose shares a test sets, in place of consents and a ledger."""

import numpy as np

from hospital_node.shares import ALL, Permitted


class Permits:
    """Everybody permits everything at first."""

    def __init__(self, patients):
        self.shares = np.full(patients, ALL, np.uint8)

    def mask(self):
        return self.permitted()[0]

    def permitted(self):
        now = Permitted.of(self.shares)
        return now.mask, now.shares
