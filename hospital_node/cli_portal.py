"""``twinward portal``: the patients' site of one hospital."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.clock import SystemClock
from twinward.console import emit, json_option, reports_errors, say

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def portal() -> None:
    """Show patients who uses their data, and let them decide."""


@portal.command()
@FOLDER
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9460, show_default=True, help="Port to listen on.")
@click.option("--name", help="Host name in patients' browsers, if it is not the address.")
@click.option("--plain", is_flag=True, help="HTTP without TLS, for this machine only.")
@click.option("--end-with-stdin", is_flag=True, help="Stop when standard input ends.")
@reports_errors
def up(
    *, folder: Path, host: str, port: int, name: str | None, plain: bool, end_with_stdin: bool
) -> None:
    """Serve the patients of the node in FOLDER; the node itself answers through its desk."""
    from consent.portal import settings as portal_settings
    from consent.portal.running import running
    from consent.portal.sealed_keys import state_of
    from hospital_node import membership
    from hospital_node.enrolment import consent_domain
    from hospital_node.settings import FILE, NodeSettings
    from twinward import child, logging
    from twinward.organisation import Organisation
    from twinward.settings import load
    from twinward.web import serve

    if end_with_stdin:
        child.end_with_stdin()
    settings, founding = load(NodeSettings, folder / FILE), membership.load_founding(folder)
    logging.configure(role="portal", org=settings.org)
    tls = None if plain else Organisation(folder).tls
    if tls is None and not serve.is_loopback(host):
        serve.origin_of(host, port, tls=False)  # refuses, whatever name is given
    origin = serve.origin_of(name or host, port, tls=tls is not None)
    listener = serve.listen(host, port)
    with (
        listener,
        running(
            state_of(folder),
            origin=origin,
            hospital=settings.org,
            domain=consent_domain(founding),
            desk=f"{settings.host}:{settings.desk_port}",
            ca=founding.ca_certificate.encode(),
            clock=SystemClock(),
            drafts=portal_settings.of(folder).drafts,
        ) as site,
    ):
        say(f"portal is up: {origin}")
        serve.serve(site, listener, tls=tls)


@portal.command()
@FOLDER
@click.option(
    "--every",
    default=30,
    show_default=True,
    type=click.IntRange(5, 3600),
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Look once, say what was done, and stop.")
@click.option("--end-with-stdin", is_flag=True, help="Stop when standard input ends.")
@json_option
@reports_errors
def notify(*, folder: Path, every: int, once: bool, end_with_stdin: bool, as_json: bool) -> None:
    """Mail patients of FOLDER who asked for it that there is something new; never what.

    By the relay in [mail] of portal.toml. The node and the site may be up; neither waits for this.
    """
    import time
    from dataclasses import asdict

    from hospital_node import notices
    from hospital_node.settings import FILE, NodeSettings
    from twinward import child, logging
    from twinward.settings import load

    if end_with_stdin:
        child.end_with_stdin()
    org, clock = load(NodeSettings, folder / FILE).org, SystemClock()
    logging.configure(role="portal", org=org)
    hospital = org.replace("-", " ").title()
    while not once:
        notices.look(folder, hospital=hospital, clock=clock)
        time.sleep(every)
    done = asdict(notices.look(folder, hospital=hospital, clock=clock))
    emit(
        done,
        schema="portal.notify",
        as_json=as_json,
        text=lambda: ", ".join(f"{name} {count}" for name, count in done.items()),
    )


@portal.command()
@click.argument("letters", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@json_option
@reports_errors
def codes(*, letters: Path, as_json: bool) -> None:
    """Show the codes of a file of LETTERS as patients type them. They are secrets."""
    from consent.letters import read_letters
    from consent.portal.codes import spelled

    found = [(one.reference, spelled(one.code)) for one in read_letters(letters)]
    emit(
        {"codes": [{"letter": letter, "code": code} for letter, code in found]},
        schema="portal.codes",
        as_json=as_json,
        text=lambda: "\n".join(f"{letter}  {code}" for letter, code in found),
    )


@portal.command()
@click.argument("letters", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--site", required=True, help="Where patients reach the site: https://HOST[:PORT].")
@click.option(
    "--language",
    default="en",
    show_default=True,
    help="Of the letter, as its code: en, ar, or a draft: de, es, fr, tr.",
)
@json_option
@reports_errors
def letters(*, letters: Path, out: Path, site: str, language: str, as_json: bool) -> None:
    """Make a page to print from a file of LETTERS: a sheet for each, with its code and a QR code.

    OUT opens every permission of these patients. Delete it and LETTERS once they are posted.
    """
    from consent.letters import read_letters
    from consent.portal import printed
    from consent.portal.languages import named

    found = read_letters(letters)
    printed.write(out, found, site=site, language=named(language))
    emit(
        {"letters": len(found), "file": str(out)},
        schema="portal.letters",
        as_json=as_json,
        text=lambda: (
            f"{len(found)} letters to print: {out}\nDelete it, and {letters}, once posted."
        ),
    )


@portal.command()
@FOLDER
@click.argument("study")
@click.argument("words", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@json_option
@reports_errors
def result(*, folder: Path, study: str, words: Path, as_json: bool) -> None:
    """Show the patients of STUDY what came out of it, from a TOML file of WORDS by language."""
    from consent.portal import results
    from consent.portal.sealed_keys import state_of
    from hospital_node.settings import FILE, NodeSettings
    from twinward.ids import study_id
    from twinward.settings import load

    load(NodeSettings, folder / FILE)  # refuses a folder of something else
    shown = results.publish(state_of(folder), study_id(study), words)
    emit(
        {"study": study, "languages": list(shown)},
        schema="portal.result",
        as_json=as_json,
        text=lambda: f"patients of {study} read it from now on ({', '.join(shown)})",
    )
