"""A cable with delay and loss, in user space: copies frames between two interfaces.

For kernels without ``sch_netem``. Run it inside the switch's namespace:
``python link.py A B --delay 0.05 --loss 0.1 --seed 1``. Each frame waits ``delay`` seconds in each
direction; a seeded generator drops frames. Frames keep their order. Standard library only.
"""

import argparse
import array
import fcntl
import random
import select
import socket
import struct
import time
from collections import deque

_ALL = 0x0003  # ETH_P_ALL
_LONGEST = 70_000  # a frame before segmentation
_OUTGOING = 4  # PACKET_OUTGOING: what we ourselves sent
_QUEUE = 4_000
_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x17, 0x1F, 0x24)  # set tx checksums, TCP segmentation, generic segmentation: off


def open_(name):
    """Raw frames of one interface, also those for others."""
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    frames.bind((name, 0))
    frames.setblocking(False)
    frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    return frames


def finish_frames(name):
    """Have an interface make checksums and segments itself, as it must before a real wire.

    Otherwise frames between namespaces carry unfinished ones, and a copy of them is refused.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in _OFFLOADS:
            value = array.array("I", [command, 0])
            request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ends", nargs=2)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    first, second = map(open_, chosen.ends)
    other, waiting = {first: second, second: first}, deque()
    print("ready", flush=True)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for end in select.select([first, second], [], [], pause)[0]:
            while True:
                try:
                    frame, (_, _, kind, *_) = end.recvfrom(_LONGEST)
                except BlockingIOError:
                    break
                if kind == _OUTGOING or len(waiting) >= _QUEUE or dice.random() < chosen.loss:
                    continue
                waiting.append((time.monotonic() + chosen.delay, other[end], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, end, frame = waiting.popleft()
            try:
                end.send(frame)
            except OSError:
                continue  # a cable that is pulled, or a full buffer: a lost frame


if __name__ == "__main__":
    main()
