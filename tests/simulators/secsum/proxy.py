"""A network with distance: a TCP proxy on loopback that holds every byte back for a while.

``python -m tests.simulators.secsum.proxy TARGET SECONDS``: prints the port it listens on, runs
until it is killed. ``SECONDS`` is the delay one way.
"""

from __future__ import annotations

import asyncio
import sys


async def carry(reader, writer, seconds):
    """Bytes in order, each ``seconds`` after it came; what follows is read in the meantime."""
    loop, held = asyncio.get_running_loop(), asyncio.Queue()

    async def read():
        while data := await reader.read(65_536):
            held.put_nowait((loop.time() + seconds, data))
        held.put_nowait((loop.time() + seconds, b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()
    finally:
        reading.cancel()
        writer.close()


async def serve(target, seconds):
    host, port = target.rsplit(":", 1)

    async def connected(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            carry(reader, far_writer, seconds),
            carry(far_reader, writer, seconds),
            return_exceptions=True,
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
