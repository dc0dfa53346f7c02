"""A hospital's mail relay on a socket: SMTP with STARTTLS, keeps what it took."""

import asyncio
import ssl
from email import message_from_bytes
from email.policy import default

from aiosmtpd.controller import Controller

from tests.simulators.consent.desk import make_tls
from twinward.demo.stage import free_ports


class MailRelay:
    """Start and stop it at will; ``refuses`` is what it says to every receiver, or None."""

    def __init__(self, folder, *, tls=True):
        self.files = make_tls(folder, "relay")
        self.port = free_ports(1)
        self.tls, self.taken, self.refuses, self.answers_after = tls, [], None, 0.0
        self._controller = None

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refuses is not None:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        made = message_from_bytes(envelope.content, policy=default)
        self.taken.append((envelope.rcpt_tos, made, session.ssl is not None))
        await asyncio.sleep(self.answers_after)
        return "250 OK"

    def start(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files.certificate, self.files.key)
        more = {"tls_context": context, "require_starttls": True} if self.tls else {}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **more)
        self._controller.start()

    def stop(self):
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def settings(self):
        """What a node's `portal.toml` says of it."""
        return (
            f'[mail]\nrelay = "localhost"\nport = {self.port}\nsender = "no-reply@clinic.example"\n'
            f'site = "https://my-data.clinic.example"\nca_file = "{self.files.ca}"\n'
        )
