"""A visitor without a browser: asks an application in this process, keeps its cookies."""

import asyncio
from contextlib import contextmanager

import httpx


class Visitor:
    """Ask with ``get``, ``post`` and ``request``; ``cookies`` and ``headers`` go with each."""

    def __init__(self, app, origin):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=origin)
        self.cookies, self.headers = self._client.cookies, self._client.headers
        self.origin = origin

    def request(self, method, path, **more):
        return asyncio.run(self._client.request(method, path, **more))

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)

    def close(self):
        asyncio.run(self._client.aclose())


@contextmanager
def visit(app, origin):
    """A visitor for as long as the block lasts."""
    visitor = Visitor(app, origin)
    try:
        yield visitor
    finally:
        visitor.close()
