"""What a study says about one patient: in plain words, as a picture, and by NIST SP 800-226.

Made from the numbers of the privacy statement (``ledger.verify.privacy_statement``) and the plan;
no data goes in. All three say the same numbers, so a reader may start with any.

The number for people is *right guesses in a hundred*. Someone for whom it is a toss whether a
patient took part guesses right 50 times in 100 before they see the model; mu-GDP bounds it after by
100 Phi(mu / 2), whatever else they know (Dong, Roth, Su 2022: a test of N(0, 1) against N(mu, 1)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from twinward import gdp
from twinward.considerations import considerations
from twinward.plan import mode_of

WHO = {
    "public": "the public and auditors",
    "one_other_hospital": "one other hospital",
    "coordinator_with_colluders": "the coordinator with colluding hospitals",
}


_LEAVES = {
    "secure_sum": "are sums over its patients, blurred with random noise and masked so that only "
    "the total over all hospitals can be read",
    "fedavg": "is how its own copy of the model changed, with random noise in every step of its "
    "training, and masked so that only the total over all hospitals can be read",
    "visible": "is how its own copy of the model changed, with random noise in every step of its "
    "training; it is not masked, so that one hospital cannot spoil the model unseen",
}


def right_guesses(mu: float) -> float:
    """Of a hundred guesses whether a patient took part, how many are right at most."""
    return 50.0 * math.erfc(-mu / (2 * math.sqrt(2)))


@dataclass(frozen=True, slots=True)
class PrivacyStatement:
    """What is promised to a patient of a study.

    Args:
        plan: Payload of the plan.
        privacy: Numbers of the privacy statement, as on the model card.
        lifetime_mu2: What a hospital lets all studies together cost a patient, in mu^2.
    """

    plan: Mapping[str, Any]
    privacy: Mapping[str, Any]
    lifetime_mu2: float | None = None

    @property
    def share_of_lifetime(self) -> float | None:
        """What part of a patient's lifetime budget this run takes at most, reserved in full."""
        if self.lifetime_mu2 is None:
            return None
        dearest = max(float(self.privacy["mu"]), self._held_out_mu(whom=1.0) or 0.0)
        return dearest**2 / self.lifetime_mu2

    @property
    def held_out(self) -> Mapping[str, float] | None:
        """For patients who test the model instead of training it: mu and epsilon, or None."""
        worst = max(entry["mu"] for entry in self.privacy["adversaries"].values())
        mu = self._held_out_mu(whom=worst / self.privacy["mu"])
        if mu is None:
            return None
        return {"mu": mu, "epsilon": gdp.epsilon_of(mu, self.privacy["delta"])}

    def _held_out_mu(self, *, whom: float) -> float | None:
        """Their mu against someone who gets ``whom`` times the mu of the claim."""
        evaluation = self.plan.get("evaluation")
        if evaluation is None:
            return None
        return whom * gdp.mu_of(evaluation["epsilon"], self.privacy["delta"])

    def words(self) -> tuple[str, ...]:
        """Paragraphs for a patient or a board; no formulas."""
        worst = max(entry["mu"] for entry in self.privacy["adversaries"].values())
        twice = self.privacy["patient_at_hospitals"]["2"]["mu"]
        hospitals = len(self.plan["sites"])
        colluders = self.privacy["fewest_members"] - self.privacy["fewest_honest_shares"]
        helpers = "one hospital" if colluders == 1 else f"{colluders} hospitals"
        guesses = _ceil(right_guesses(worst))
        paragraphs = [
            (
                f"This study trains one model at {hospitals} hospitals. Records stay where they "
                f"are. What leaves a hospital {_LEAVES[mode_of(self.plan)]}."
            ),
            (
                "Could someone find out that you took part? Say they know everything about you and "
                "all the others, and before they see the model it is a toss: they guess right 50 "
                "times in 100. After they have seen everything that this study releases, they "
                f"guess right at most {guesses} times in 100, even if they run the network and "
                f"have {helpers} on their side."
            ),
            (
                "The same bound holds for anything in your records: whatever was computed could "
                "almost as well have come out if they had been empty."
            ),
            (
                "It counts for all your records at one hospital. If you are a patient of two "
                f"hospitals in this study, it is {_ceil(right_guesses(twice))} in 100."
            ),
        ]
        if self.held_out is not None:
            part, mu = self.plan["evaluation"]["holdout_share"], self.held_out["mu"]
            paragraphs.append(
                f"{part:.0%} of the patients, drawn by lot, do not train the model but test it: "
                "they are counted once it is finished, in numbers with noise of their own. For "
                f"them it is at most {_ceil(right_guesses(mu))} in 100."
            )
        share = self.share_of_lifetime
        if share is not None:
            paragraphs.append(
                f"Every study adds up. This one takes at most {share:.0%} of what your "
                "hospital allows all studies together in your lifetime; when that is used up, "
                "your records are not used again."
            )
        paragraphs.append(
            "Not hidden: how many consents and withdrawals there are and when, and which hospitals "
            "took part. Not covered: your own hospital, which has your records anyway; what can be "
            "learnt about people like you from others; and faults in software or machines."
        )
        return tuple(paragraphs)

    def nist(self) -> dict[str, Any]:
        """The considerations of NIST SP 800-226, each with this study's answer."""
        return considerations(
            self.plan, self.privacy, lifetime_mu2=self.lifetime_mu2, held_out=self.held_out
        )

    def as_json(self) -> dict[str, Any]:
        """Words, numbers and considerations in one object."""
        return {
            "study": self.plan["study"],
            "model": self.plan["model"],
            "epsilon": self.privacy["epsilon"],
            "delta": self.privacy["delta"],
            "mu": self.privacy["mu"],
            "right_guesses_in_100": {
                who: round(right_guesses(entry["mu"]), 2)
                for who, entry in self.privacy["adversaries"].items()
            },
            "held_out": None if self.held_out is None else dict(self.held_out),
            "share_of_lifetime": self.share_of_lifetime,
            "words": list(self.words()),
            "nist_sp_800_226": self.nist(),
        }

    def svg(self) -> str:
        """The picture: who could guess how well, and what part of a lifetime's budget this takes.

        Stands alone: no script, no font, no link; readable by a screen reader and in grey.
        """
        adversaries = self.privacy["adversaries"]
        rows = [
            (text, adversaries[who], right_guesses(adversaries[who]["mu"]))
            for who, text in WHO.items()
        ]
        if self.held_out is not None:
            held_out = "worst case, for a patient who tests the model"
            rows.append((held_out, self.held_out, right_guesses(self.held_out["mu"])))
        bars = "".join(
            _guess_bar(_TOP + 54 * place, text, entry, guesses)
            for place, (text, entry, guesses) in enumerate(rows)
        )
        share, end = self.share_of_lifetime, _TOP + 54 * len(rows)
        budget = "" if share is None else _budget_bar(end + 24, share)
        height = end + (10 if share is None else 84)
        title = f"What study {self.plan['study']} tells about one patient"
        size = min(18, 800 // len(title))  # the longest name of a study still fits
        summary = "; ".join(f"{text}: at most {_ceil(g)} in 100" for text, _, g in rows)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 640 {height}" '
            'font-family="sans-serif" font-size="14" fill="#1b1b1b">'
            f"<title>{escape(title)}</title><desc>{escape(summary)}</desc>"
            f'<rect width="640" height="{height}" fill="#ffffff"/>'
            f'<text x="24" y="36" font-size="{size}" font-weight="bold">{escape(title)}</text>'
            f'<text x="24" y="58" fill="#555555">epsilon {self.privacy["epsilon"]:g} at delta '
            f"{self.privacy['delta']:g}, {escape(self.privacy['unit'])}</text>"
            '<text x="24" y="88">Right guesses in 100 whether a patient took part, if made by ...'
            "</text>"
            f"{_SCALE}{bars}{budget}</svg>\n"
        )


_TOP, _LEFT, _WIDE = 118, 24, 480
"""Where the first bar's text starts, and the bars from 0 to 100 lie; the picture is 640 wide."""

_SCALE = "".join(
    f'<text x="{_LEFT + _WIDE * part}" y="108" font-size="11" text-anchor="{anchor}" '
    f'fill="#555555">{text}</text>'
    for part, anchor, text in ((0, "start", "0"), (0.5, "middle", "50: a toss"),
                               (1, "end", "100: certain"))
)  # fmt: skip


def _guess_bar(y: int, text: str, entry: Mapping[str, float], guesses: float) -> str:
    toss = _WIDE / 2
    return (
        f'<text x="{_LEFT}" y="{y + 12}">{escape(text)}</text>'
        f'<text x="{_LEFT + _WIDE}" y="{y + 12}" font-size="11" text-anchor="end" fill="#555555">'
        f"mu {entry['mu']:.3f}, epsilon {entry['epsilon']:.2f}</text>"
        f"{_bar(y + 20, _LEFT, _WIDE, '#e4e4e4')}{_bar(y + 20, _LEFT, toss, '#8fa7b8')}"
        f"{_bar(y + 20, _LEFT + toss, _WIDE * guesses / 100 - toss, '#b3261e')}"
        f"{_figure(y + 33, f'at most {_ceil(guesses)}')}"
    )


def _budget_bar(y: int, share: float) -> str:
    fits = share <= 1.0
    return (
        f'<text x="{_LEFT}" y="{y + 12}">Of a lifetime\'s budget for all studies at one hospital, '
        "in mu squared</text>"
        f"{_bar(y + 20, _LEFT, _WIDE, '#e4e4e4')}"
        f"{_bar(y + 20, _LEFT, _WIDE * min(1.0, share), '#3d6b52' if fits else '#b3261e')}"
        f"{_figure(y + 33, f'{share:.0%}' if fits else 'too much')}"
    )


def _bar(y: int, x: float, width: float, colour: str) -> str:
    return f'<rect x="{x:g}" y="{y}" width="{width:.2f}" height="16" fill="{colour}"/>'


def _figure(y: int, text: str) -> str:
    """The number that counts, right of its bar and within the frame."""
    return f'<text x="616" y="{y}" text-anchor="end" font-weight="bold">{text}</text>'


def _ceil(guesses: float) -> int:
    """Rounded up: a promise is never printed better than it is."""
    return math.ceil(guesses - 1e-9)
