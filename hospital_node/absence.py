"""Tells the coordinator why this hospital is missing in a run, where patients are not the cause.

Best effort: a hospital that cannot tell is missing all the same. Where too few patients permit the
study, or their accounts are empty, nothing is told.
"""

from __future__ import annotations

from hospital_node.members import ask, network
from hospital_node.node import Node
from twinward import absence
from twinward.errors import TwinwardError
from twinward.logging import log
from twinward.signing import Document


def tell(node: Node, *, run: bytes, code: str) -> None:
    """Send one signed word about this run, if the code is one that may be told; never raises."""
    if code not in absence.TOLD:
        return
    word = Document(
        absence.KIND, {"org": node.settings.org, "run": run.hex(), "code": code}
    ).signed_by(node.identity)
    data = word.encode()
    try:
        node.egress.let_out("network", "absence", to="coordinator", size=len(data))
        with network(node.folder, node.founding) as stub:
            ask(stub.Absent, data)
    except TwinwardError as error:
        log().warning("the coordinator was not told why", code=error.code)
