"""The thin Flower ServerApp: carries the coordinator's opening to the nodes, closings back.

It decides nothing. The daemon says what the opening is and when the run is finished; nodes that
are gone are not waited for.
"""

from __future__ import annotations

import time

from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from twinward.rpc.local import LocalAddress, local_channel
from twinward.rpc.messages_pb2 import Closing, Nothing
from twinward.rpc.messages_pb2_grpc import CoordinatorLocalStub

RECORD = "twinward"
OPENING = "opening"
CLOSING = "closing"
_LOOK_SECONDS = 0.2  # Flower's own loop: 3 s

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator]
def main(grid: Grid, _context: Context) -> None:
    """Push the opening to every node that is, comes or comes back online, pass on closings.

    Ends when the daemon says so, or when every node has answered; with no node at all, when the
    daemon's run is over. If this process dies, Flower ends its run; the daemon's run goes on, for
    its steps do not pass here.
    """
    with local_channel(LocalAddress.from_environment()) as channel:
        coordinator = CoordinatorLocalStub(channel)
        opening = coordinator.NextOpening(Nothing())
        content = RecordDict({RECORD: ConfigRecord({OPENING: opening.SerializeToString()})})
        reached: set[int] = set()
        waiting: set[str] = set()
        while waiting or not reached:
            # After a restart of the SuperLink it takes the nodes seconds to find it again. Who was
            # away and is back gets the opening again: the one before died with its process.
            online = set(grid.get_node_ids())
            newcomers, reached = online - reached, online
            waiting |= set(
                grid.push_messages(
                    [
                        Message(content, dst_node_id=node, message_type=MessageType.QUERY)
                        for node in newcomers
                    ]
                )
            )
            for reply in grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                closing = _closing(reply)
                if closing is not None and coordinator.Close(closing).finished:
                    return
            if not reached and coordinator.NextOpening(Nothing()).run != opening.run:
                return
            time.sleep(_LOOK_SECONDS)


def _closing(reply: Message) -> Closing | None:
    """The closing in a reply; None when the node failed, refused or sent something else.

    What a node sends is not believed here: the daemon checks the signature inside.
    """
    if reply.has_error():
        return None
    try:
        closing: Closing = Closing.FromString(bytes(reply.content[RECORD][CLOSING]))
    except Exception:  # noqa: BLE001 - a malformed reply must not end the run for the others
        return None
    return closing
