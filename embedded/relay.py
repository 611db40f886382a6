"""The cluster's door on the host: relays a loopback port to the API server.

The listening socket is made in the host's network namespace and inherited; connections to the API
server are made in the control plane's, where this process runs. So the host needs no address, route
or device of the cluster.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from embedded.layout import API_SERVICE

CHUNK = 256 * 1024


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
    except OSError:
        sink.close()


async def _serve(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
    try:
        upstream, request = await asyncio.open_connection(API_SERVICE, 443)
    except OSError:
        answer.close()  # the API server is not there (yet): the client sees a closed connection
        return
    await asyncio.gather(_pump(client, request), _pump(upstream, answer))
    request.close()
    answer.close()


async def _main(descriptor: int) -> None:
    server = await asyncio.start_server(_serve, sock=socket.socket(fileno=descriptor))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
