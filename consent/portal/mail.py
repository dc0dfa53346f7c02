"""A mail by the hospital's own relay: SMTP with STARTTLS, the relay's certificate verified.

What leaves: the address, that the hospital has something new or a code for the address, and the
address of the site's first page. No name, no study, no link with a secret in it.
"""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from consent.notices import Mail
from consent.portal.languages import ENGLISH, languages
from consent.portal.settings import MailSettings
from twinward.errors import ConsentError
from twinward.files import read_secret

_SECONDS: Final = 20.0
_PERMANENT: Final = 500


class AddressRefused(ConsentError):
    """The relay says that there is no such address; trying again does not help."""

    default_code = "TW8175"


class RelayFailed(ConsentError):
    """The relay did not take a mail now."""

    default_code = "TW8174"


class Relay:
    """The hospital's relay; a connection for each mail."""

    def __init__(
        self, settings: MailSettings, *, folder: Path, hospital: str, drafts: bool = True
    ) -> None:
        """A relay whose files are named from ``folder``; without ``drafts`` it writes none.

        Raises:
            IdentityError: TW2005, the password's file can be read by others.
            UsageError: TW1014, it is not there. RelayFailed: TW8174, no certificate in `ca_file`.
        """
        self._settings = settings
        self._hospital = hospital
        self._languages = languages(drafts=drafts)
        ca, password = settings.ca_file, settings.password_file
        try:
            self._tls = ssl.create_default_context(cafile=None if ca is None else folder / ca)
        except OSError as error:
            raise _failed("`ca_file` holds no certificate that can be read") from error
        self._password = (
            None if password is None else read_secret(folder / password).decode().strip()
        )

    def written(self, mail: Mail, *, now: float) -> EmailMessage:
        """The mail; the same for everybody but for address, language and code."""
        language = self._languages.get(mail.language, self._languages[ENGLISH])
        words = language.words
        told = {"hospital": self._hospital, "site": self._settings.site, "code": mail.code or ""}
        key = "mail_new" if mail.code is None else "mail_code"
        made = EmailMessage(policy=SMTP)
        made["From"] = self._settings.sender
        made["To"] = mail.address
        made["Subject"] = words[f"{key}_subject"].format(**told)
        made["Date"] = format_datetime(datetime.fromtimestamp(now, tz=UTC))
        made["Message-ID"] = f"<{mail.id}@{self._settings.sender.partition('@')[2]}>"
        made["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers
        said = [words[key].format(**told).strip()]
        said += [each.words["draft_note"] for each in language.warnings]
        made.set_content("\n\n".join(said) + "\n")
        return made

    def send(self, message: EmailMessage) -> None:
        """Hand over one mail; taken by the relay when this returns.

        Raises:
            AddressRefused: TW8175. RelayFailed: TW8174, also without a TLS that verifies.
        """
        try:
            with smtplib.SMTP(self._settings.relay, self._settings.port, timeout=_SECONDS) as smtp:
                smtp.starttls(context=self._tls)
                if self._settings.user is not None:
                    smtp.login(self._settings.user, self._password or "")
                smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            if all(code >= _PERMANENT for code in codes):
                raise AddressRefused(
                    "the mail relay says that there is no such address",
                    code="TW8175",
                    help="the patient is told on the page",
                ) from error
            raise _failed(f"the relay answered {codes[0]}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise _failed(type(error).__name__) from error


def _failed(why: str) -> RelayFailed:
    return RelayFailed(
        "the mail relay did not take a mail",
        code="TW8174",
        note=why,
        help="check [mail] in portal.toml, the relay and its certificate; it is tried again",
    )
