"""The thin Flower ClientApp: hands the coordinator's opening to the daemon, the closing back.

It reads no data, holds no key and believes nothing that Flower says: ``run_config`` and
``node_config`` are ignored, the plan inside the opening is signed and checked by the daemon, and
so is the closing. A failure goes back as one fixed sentence; the reason stays in the node's log.
"""

from __future__ import annotations

import sys

import grpc
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from twinward.errors import TwinwardError
from twinward.rpc.local import LocalAddress, local_channel
from twinward.rpc.messages_pb2 import Opening
from twinward.rpc.messages_pb2_grpc import NodeLocalStub

RECORD = "twinward"
OPENING = "opening"
CLOSING = "closing"

app = ClientApp()


class DidNotTakePart(Exception):
    """All that the coordinator learns of a refusal or a fault at this node."""


@app.query()  # type: ignore[untyped-decorator]
def open_run(message: Message, _context: Context) -> Message:
    """Carry one opening to the daemon, wait for the run's end, carry the closing back.

    If this process dies, the call to the daemon is cancelled and Flower reports the node as gone;
    what the daemon has already marked as sent stays marked.
    """
    try:
        opening = Opening.FromString(bytes(message.content[RECORD][OPENING]))
        with local_channel(LocalAddress.from_environment()) as channel:
            closing = NodeLocalStub(channel).OpenRun(opening)
    except grpc.RpcError as error:
        sys.stderr.write(f"the daemon did not take part: {error.code()} {error.details()}\n")
    except TwinwardError as error:
        sys.stderr.write(f"{error.diagnostic.as_text()}\n")
    except Exception as error:  # noqa: BLE001 - Flower would send its text to the coordinator
        sys.stderr.write(f"the message is not an opening: {type(error).__name__}\n")
    else:
        record = ConfigRecord({CLOSING: closing.SerializeToString()})
        return Message(RecordDict({RECORD: record}), reply_to=message)
    raise DidNotTakePart("the node did not take part in this run") from None
