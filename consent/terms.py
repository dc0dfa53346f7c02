"""The text that a patient reads before signing. Its digest is part of the grant.

Plain English, for a reader of about 12 years. The text is a function of the study and the
hospital, so the hospital, the patient's device and an auditor all make the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent import purposes
from consent.study import Study
from twinward import canonical
from twinward.ids import OrgName

LANGUAGE = "en"
VERSION = 1

_TEXT = """\
May we learn from your health record?

{hospital} asks you. The study is called "{title}". It is {words}.

What we do
A computer here at {hospital} reads a part of your record. It makes a sum from the records of many
people. It adds random numbers, so that nobody can tell from the sum that you were in it. Only this
sum goes to other hospitals. Your record stays here.
{facts}
What we read
{categories}

What you can do
You may say yes. You may say no. Your care stays the same if you say no.
You may change your mind on any day. You need not say why. From the next sum on, you are out.
Sums that were made before stay as they are.
Your yes ends on the day that you choose.

What others can see
Your yes goes on a list that the hospitals keep together. Your name is not on that list. There is
only a number that is made for you and for this study. Nobody can use it to find you
in another study.

If you lost your device
Tell {hospital} by phone or at the desk. You do not need the device to say stop.
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """One text in one language and version."""

    text: str
    language: str = LANGUAGE
    version: int = VERSION

    @property
    def digest(self) -> bytes:
        """32 bytes that name exactly this text: what a grant's ``termsShown`` must equal."""
        return canonical.tagged_hash(
            "terms/v1", self.language.encode(), str(self.version).encode(), self.text.encode()
        )


_CARE_TEXT = """\
May we make a twin of you, for your own care?

{hospital} asks you. It is called "{title}". It is for {words}.

What we do
A computer here at {hospital} learns how your body answers. This copy of you is called a twin. Your
care team may ask it what could happen next. It is not a doctor. It can be wrong. It gives no dose.
Your twin stays here. It is used for you and for nobody else.
{facts}
What we read
{categories}

What you can do
You may say yes. You may say no. Your care stays the same if you say no.
You may change your mind on any day. You need not say why. From then on nobody can ask your twin.
You may also ask us to erase it.
Your yes ends on the day that you choose.

What others can see
Your yes goes on a list that the hospitals keep together. Your name is not on that list. There is
only a number that is made for you and for this question. Nobody can use it to find you elsewhere.

If you lost your device
Tell {hospital} by phone or at the desk. You do not need the device to say stop.
"""


def terms(study: Study, *, hospital: OrgName) -> Terms:
    """The text for this study at this hospital."""
    text = _CARE_TEXT if study.purpose == purposes.OWN_CARE else _TEXT
    return Terms(
        text.format(
            hospital=hospital.replace("-", " ").title(),
            title=study.title,
            words=purposes.purpose(study.purpose).words,
            facts="".join(f"{fact}\n" for fact in _facts(study)),
            categories="\n".join(_categories(study)),
        )
    )


def _categories(study: Study) -> list[str]:
    can = {one.name for one in study.optional}
    return [
        f"- {name}{' (you may leave this out)' if name in can else ''}" for name in study.categories
    ]


def _facts(study: Study) -> list[str]:
    told = (
        (study.commercial, "Somebody may make money with what we find."),
        (study.methods_only, "We make better methods. We ask nothing about an illness."),
        (study.genetic, "We look at genes."),
        (study.ethics, f"An ethics committee agreed to it: {study.ethics}."),
        (study.region, f"What we make stays in this region: {study.region}."),
    )
    return [words for holds, words in told if holds]
