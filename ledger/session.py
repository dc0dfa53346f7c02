"""The HTTP connections under web3: our token, our TLS, no proxy but our own forwarder."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Session


def http_session(
    token: str | None, tls: ssl.SSLContext | None, proxy: str | None = None
) -> Session:
    """Connections that carry a token in a header, and trust what a context says or the system does.

    Args:
        token: Of the node's operator, if it asks for one.
        tls: Whom to trust and which certificate to show; None: the system's authorities.
        proxy: This hospital's forwarder, if nothing else goes out.
    """
    from requests import Session  # noqa: PLC0415 - comes with web3
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    class OwnTls(HTTPAdapter):
        def init_poolmanager(self, *given: Any, **more: Any) -> None:
            super().init_poolmanager(*given, **more, ssl_context=tls)

        def proxy_manager_for(self, *given: Any, **more: Any) -> Any:
            return super().proxy_manager_for(*given, **more, ssl_context=tls)

        def cert_verify(self, *_given: Any, **_more: Any) -> None:
            """The context says whom to trust; requests would add the web's authorities."""

    session = Session()
    session.trust_env = False  # the ledger is named in the founding file, not by a proxy
    session.max_redirects = 0  # nor by whoever answers there
    if proxy is not None:
        session.proxies = {"http": proxy, "https": proxy}
    if tls is not None:
        session.mount("https://", OwnTls())
    if token is not None:
        session.headers["Authorization"] = f"Bearer {token}"
    return session
