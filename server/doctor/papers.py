"""Checks of who this coordinator is: release, configuration, keys, founding file, certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from cryptography import x509

from server import ca, ca_rollover, upgrade
from server.doctor.place import Place
from twinward import __version__, flower_launch, forms
from twinward.doctor import papers
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import IdentityError

_KEYS = ("identity.key", "tls.key", "ledger.key", "ca.key")
_SOON = timedelta(days=180)
RENEWED_AT_START = "start the coordinator again: it renews a certificate that is due at its start"


def versions(_: Place) -> str:
    """Flower is of the line whose private names the launcher knows."""
    flower_launch.require_version()
    return f"Twinward {__version__}, Flower {version('flwr')}"


def settings(place: Place) -> str:
    """``coordinator.toml`` is read without an unknown key."""
    return f"coordinator of `{place.settings.network}`"


def secrets(place: Place) -> str:
    """All keys are there, and only their owner can read them."""
    folder = place.organisation.secrets
    keys = [*(folder / name for name in _KEYS), *sorted(folder.glob("ca.?*.key"))]
    inside = [each for each in sorted((place.folder / "state").glob("*")) if each.is_dir()]
    private = (folder, *inside, place.folder / "run", place.folder / "front_door")
    return papers.secrets(keys, private=private)


def databases(place: Place) -> str:
    """This release knows the form of every database here."""
    upgrade.require_known(place.folder)
    found = forms.examine(place.folder, upgrade.FORMS)
    if not found:
        raise NotChecked("the coordinator has not been started yet")
    return f"{len(found)} of them, all of forms that this release knows"


def founding(place: Place) -> str:
    """The founding file verifies, and names this coordinator with the key that is here."""
    found = place.founding
    if found.coordinator.identity != place.organisation.identity().public:
        raise IdentityError(
            "the founding file names the coordinator with another key than is here",
            code="TW2013",
            at=str(place.organisation.founding_file),
            help="bring back the keys or the founding file of this coordinator, unedited",
        )
    return f"`{found.network}`, {len(found.hospitals)} hospitals"


def authority(place: Place) -> str:
    """The network's own authority can sign, for a long time yet, and stands alone."""
    at = str(place.organisation.tls.ca)
    try:
        newest, *older = ca_rollover.certificates(place.organisation)
        ca.load_key(ca_rollover.key_file(place.organisation))
    except (OSError, ValueError) as error:
        raise IdentityError(
            "certificate, key or authority cannot be read",
            code="TW7341",
            at=at,
            help="take them from the newest backup",
        ) from error
    ends = newest.not_valid_after_utc
    now = datetime.fromtimestamp(place.clock.now(), tz=UTC)
    if now > ends:
        raise IdentityError(
            f"the network's authority expired on {ends:%Y-%m-%d}; nobody's certificate counts",
            code="TW7642",
            at=at,
            help="run `twinward server roll-ca`, then have every hospital renew by invitation "
            "(`twinward server invite HOSPITAL --renew`)",
        )
    if older:
        raise Concern(
            f"{len(older) + 1} authorities are trusted: a roll-over was begun and not ended",
            code="TW7644",
            at=at,
            help="have every hospital run `twinward node renew`, then run `twinward server "
            "retire-ca`",
        )
    if now > ends - _SOON:
        raise Concern(
            f"the network's authority expires on {ends:%Y-%m-%d}",
            code="TW7643",
            at=at,
            help="run `twinward server roll-ca` in time: every hospital has to renew after it",
        )
    return f"signs until {ends:%Y-%m-%d}"


def certificate(place: Place) -> str:
    """Key, certificate and authority fit together, and the certificate lasts."""
    return papers.certificate(
        place.organisation.tls,
        now=place.clock.now(),
        renew=RENEWED_AT_START,
        by_itself="a running one does so by itself",
    )


def leaf_of(pem: bytes) -> x509.Certificate:
    """The first certificate of a file: the one that is shown."""
    return x509.load_pem_x509_certificate(pem)
