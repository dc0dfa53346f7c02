"""Answering letters: what ``twinward consent grant | withdraw | show`` does.

Runs in the patients' process. What leaves: to the hospital that wrote a letter, over TLS, the
letter's code and what the patient signed; to nobody else anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from consent.desk import DeskClient, PendingAnswer
from consent.letters import Letter
from consent.patient_keys import Answer, Choice, Entry, Wallet
from consent.receipts import GRANT_KIND, WITHDRAWAL_KIND, read_receipt
from consent.record import Grant, Withdrawal
from consent.terms import Terms
from twinward.clock import Clock
from twinward.errors import ConsentError, TwinwardError
from twinward.rpc.replies import RemoteRefusal

IN_FLIGHT = 64
"""Patients of one wallet that are answered side by side."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one letter. ``receipt`` is the payload that the hospital signed."""

    reference: str
    hospital: str
    answer: Answer
    receipt: dict[str, Any] | None = None
    error: TwinwardError | None = None


Progress = Callable[[Outcome], None]
Shown = Callable[[Letter, Terms], None]


def nobody(_outcome: Outcome) -> None:
    """Progress that nobody watches."""


def unread(_letter: Letter, _terms: Terms) -> None:
    """Terms that nobody reads: for programs that play patients."""


def grant(
    wallet: Wallet,
    letters: Sequence[Letter],
    *,
    choice: Choice,
    clock: Clock,
    says_yes: Callable[[int, Letter], bool] = lambda _number, _letter: True,
    again: bool = False,
    show_terms: Shown = unread,
    progress: Progress = nobody,
    connect: Callable[[Letter], DeskClient] = DeskClient.of,
) -> list[Outcome]:
    """Answer letters: a grant for each yes, a note in the wallet for each no.

    Letters that were answered before are left alone, so the same call may be repeated after an
    interruption; with ``again`` they are answered anew, for a longer time or another choice. One
    letter's failure does not stop the others. ``says_yes`` is asked with the letter's place in
    the list. ``show_terms`` gets each text before anything is signed; if it raises, nothing is.

    Raises:
        UsageError: TW3042, one of the studies needs what is to be left out; then nothing is kept,
            signed or sent.
    """
    for study in {letter.study for letter in letters}:
        study.withheld(choice.without or ())
    wallet.keep(letters)
    outcomes = []
    asked = []
    for number, letter in enumerate(letters):
        entry = wallet.entry(letter.reference)
        answered = entry.answer is Answer.REFUSED or (
            entry.answer is Answer.GRANTED and entry.receipt
        )
        waits = entry.answer is Answer.GRANTED and not entry.receipt
        if (waits or (answered and not again)) and _reads_more(entry, choice):
            outcomes.append(_outcome(entry, error=_said_otherwise(waits=waits)))
        elif answered and not again:
            outcomes.append(_outcome(entry))
        elif entry.answer in (Answer.NONE, Answer.REFUSED) and not says_yes(number, letter):
            wallet.refuse(letter.reference)
            outcomes.append(_outcome(entry, answer=Answer.REFUSED))
        else:
            asked.append(entry)
    for outcome in outcomes:
        progress(outcome)
    for entries, desk in _by_desk(asked, connect):
        try:
            terms = _terms(desk, entries[0].letter)
            show_terms(entries[0].letter, terms)
            at = clock.now()
            entries = [_caught_up(wallet, desk, entry, at=at) for entry in entries]  # noqa: PLW2901
            requests = wallet.sign_grants(entries, terms, choice=choice, at=at)
        except TwinwardError as error:
            outcomes += _fail(entries, error, progress)
            continue
        calls = zip(entries, requests, strict=True)
        outcomes += _hand_in(wallet, calls, desk.grant, kind=GRANT_KIND, progress=progress)
    return outcomes


def withdraw(
    wallet: Wallet,
    references: Iterable[str],
    *,
    clock: Clock,
    progress: Progress = nobody,
    connect: Callable[[Letter], DeskClient] = DeskClient.of,
) -> list[Outcome]:
    """Withdraw for the letters of these references; repeating it gives the same receipts.

    Raises:
        UsageError: TW3031, a reference is not in this wallet; then nothing is withdrawn.
    """
    outcomes: list[Outcome] = []
    for entries, desk in _by_desk([wallet.entry(name) for name in references], connect):
        requests = wallet.sign_withdrawals(entries, at=clock.now())
        calls = zip(entries, requests, strict=True)
        outcomes += _hand_in(wallet, calls, desk.withdraw, kind=WITHDRAWAL_KIND, progress=progress)
    return outcomes


def show(
    wallet: Wallet,
    references: Iterable[str],
    *,
    connect: Callable[[Letter], DeskClient] = DeskClient.of,
) -> list[tuple[Entry, dict[str, Any] | TwinwardError]]:
    """What each hospital has on record, or why it did not say.

    Raises:
        UsageError: TW3031, a reference is not in this wallet.
    """
    found: list[tuple[Entry, dict[str, Any] | TwinwardError]] = []
    for entries, desk in _by_desk([wallet.entry(name) for name in references], connect):
        for entry in entries:
            letter = entry.letter
            try:
                found.append((entry, desk.show(code=letter.code, study=letter.study.id32)))
            except TwinwardError as error:
                found.append((entry, error))
    return found


def _reads_more(entry: Entry, choice: Choice) -> bool:
    """Whether what was signed before would read something that is to be left out now."""
    return entry.answer is Answer.GRANTED and not set(choice.without or ()) <= set(entry.without)


def _said_otherwise(*, waits: bool) -> ConsentError:
    arrived = "answer again with `--again`: the new yes replaces the old one"
    under_way = "it may be on its way: give it once more as it was, then this one with `--again`"
    return ConsentError(
        "this letter was answered before, with a yes that leaves out less",
        code="TW3043",
        help=under_way if waits else arrived,
    )


def _by_desk(
    entries: Iterable[Entry], connect: Callable[[Letter], DeskClient]
) -> Iterator[tuple[list[Entry], DeskClient]]:
    groups: dict[tuple[str, str, bytes], list[Entry]] = defaultdict(list)
    for entry in entries:
        letter = entry.letter
        groups[letter.desk, letter.ca, letter.study.id32].append(entry)
    for group in groups.values():
        with connect(group[0].letter) as desk:
            yield group, desk


def _terms(desk: DeskClient, letter: Letter) -> Terms:
    """The text as the desk shows it, after checking that it is about the letter's study.

    Raises:
        ConsentError: TW3033, the desk offers something else than the letter.
    """
    said = desk.terms(letter.study.id32)
    try:
        terms = Terms(str(said["text"]), str(said["language"]), int(said["version"]))
        same = (
            said["study"] == letter.study.to_json()
            and said["hospital"] == letter.hospital
            and said["digest"] == terms.digest.hex()
        )
    except (KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise ConsentError(
            "the hospital's desk offers something else than the letter says",
            code="TW3033",
            help="sign nothing; show the letter at the hospital's desk",
        )
    return terms


def _caught_up(wallet: Wallet, desk: DeskClient, entry: Entry, *, at: float) -> Entry:
    """A key with a history follows the ledger's count, which a withdrawal may have moved."""
    if entry.subject is None or (entry.answer is Answer.GRANTED and entry.receipt is None):
        return entry
    known = desk.show(code=entry.letter.code, study=entry.letter.study.id32)["grant"]
    if known:
        wallet.catch_up(entry, int(known["next_nonce"]), at=at)
    return wallet.entry(entry.reference)


def _hand_in(
    wallet: Wallet,
    calls: Iterable[tuple[Entry, dict[str, Any]]],
    send: Callable[[dict[str, Any]], PendingAnswer],
    *,
    kind: str,
    progress: Progress,
) -> Iterator[Outcome]:
    """Send requests side by side; keep each receipt once its signature was checked."""
    waiting = list(calls)
    while waiting:
        now, waiting = waiting[:IN_FLIGHT], waiting[IN_FLIGHT:]
        answers = [(entry, request, send(request)) for entry, request in now]
        receipts, outcomes = [], []
        for entry, request, answer in answers:
            try:
                receipt = answer.result()
                payload = _checked(receipt, request, entry.letter, kind=kind)
            except TwinwardError as error:
                if isinstance(error, RemoteRefusal):
                    wallet.take_back(entry)
                outcomes.append(_outcome(entry, error=error))
                continue
            receipts.append((entry.reference, receipt))
            done = Answer.GRANTED if kind == GRANT_KIND else Answer.WITHDRAWN
            outcomes.append(_outcome(entry, answer=done, receipt=payload))
        wallet.keep_receipts(receipts)
        for outcome in outcomes:
            progress(outcome)
        yield from outcomes


def _checked(
    receipt: bytes, request: dict[str, Any], letter: Letter, *, kind: str
) -> dict[str, Any]:
    payload = dict(read_receipt(receipt, kind=kind, hospital=letter.identity).payload)
    signed: Grant | Withdrawal | None = None
    if "grant" in request:
        signed = Grant.from_json(request["grant"])
    elif "withdrawal" in request:
        signed = Withdrawal.from_json(request["withdrawal"])
    right = payload.get("study") == letter.study.id32.hex() and (
        signed is None or payload.get("digest") == signed.digest(letter.domain).hex()
    )
    if not right:
        raise ConsentError(
            "the hospital's receipt is for something else than was sent",
            code="TW3034",
            help="try again; if it happens twice, show the letter at the hospital's desk",
        )
    return payload


def _fail(entries: Sequence[Entry], error: TwinwardError, progress: Progress) -> list[Outcome]:
    outcomes = [_outcome(entry, error=error) for entry in entries]
    for outcome in outcomes:
        progress(outcome)
    return outcomes


def _outcome(
    entry: Entry,
    *,
    answer: Answer | None = None,
    receipt: dict[str, Any] | None = None,
    error: TwinwardError | None = None,
) -> Outcome:
    return Outcome(
        reference=entry.reference,
        hospital=entry.letter.hospital,
        answer=entry.answer if answer is None else answer,
        receipt=receipt,
        error=error,
    )
