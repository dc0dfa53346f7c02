"""The rules by which blocks of the embedded chain are executed; takes a second to import."""

from __future__ import annotations

import functools
from typing import Any

from eth.chains.base import MiningChain
from eth.consensus.noproof import NoProofConsensus
from eth.vm.forks.cancun import CancunVM


@functools.cache
def chain_class(chain_id: int) -> Any:
    """py-evm's chain with `cancun` from the first block and no proof of work."""
    vm = CancunVM.configure("EmbeddedVM", consensus_class=NoProofConsensus)
    return MiningChain.configure("EmbeddedChain", vm_configuration=((0, vm),), chain_id=chain_id)
