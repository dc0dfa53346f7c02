"""A running ledger for the tests of this folder."""

from tests.simulators.ledger.fixtures import network, node, patient

__all__ = ["network", "node", "patient"]
