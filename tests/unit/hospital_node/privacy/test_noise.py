"""The noise is Gaussian at its stated width, in the tails too, and from one generator only."""

import ast
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import hospital_node
from hospital_node.privacy import noise
from hospital_node.privacy.keystream import Keystream

FALSE_ALARM = 1e-6
"""Evidence level of the statistical tests. The entropy is fixed, so they cannot flake."""


def fixed(seed):
    return lambda count: bytes([seed]) * count


def draws(size, sd=1.0, seed=1):
    return noise.gaussian(size, sd=sd, entropy_for_tests_only=fixed(seed))


def test_a_million_draws_are_normal():
    sample = draws(1_000_001, sd=3.0)
    assert sample.size == 1_000_001
    assert stats.kstest(sample / 3.0, "norm").pvalue > FALSE_ALARM
    edges = stats.norm.ppf(np.linspace(0, 1, 1001))
    counts, _ = np.histogram(sample / 3.0, bins=edges)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_the_width_is_right_to_half_a_percent():
    """Catches a forgotten factor of 1.01; chi-square on the sum of squares."""
    sample = draws(400_000, sd=142.0, seed=3)
    tail = stats.chi2.cdf(np.sum((sample / 142.0) ** 2), sample.size)
    assert FALSE_ALARM < tail < 1 - FALSE_ALARM
    wrong = stats.chi2.cdf(np.sum((1.01 * sample / 142.0) ** 2), sample.size)
    assert wrong > 1 - FALSE_ALARM


def test_the_two_halves_of_a_pair_are_independent():
    block = noise._PAIRS_AT_ONCE
    sample = draws(50 * 2 * block, seed=5).reshape(50, 2, block)
    first, second = sample[:, 0].ravel(), sample[:, 1].ravel()
    bins = stats.norm.ppf([0.25, 0.5, 0.75])
    table = np.zeros((4, 4))
    np.add.at(table, (np.digitize(first, bins), np.digitize(second, bins)), 1)
    assert stats.chi2_contingency(table).pvalue > FALSE_ALARM
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 5 / math.sqrt(first.size)


def fine(stream, count):
    return noise.fine_uniforms(stream.words(count), stream)


class Rare(Keystream):
    """A keystream whose next words are chosen, then random again."""

    def __init__(self, *words):
        super().__init__(bytes(32))
        self._chosen = list(words)

    def words(self, count):
        chosen, self._chosen = self._chosen[:count], self._chosen[count:]
        return np.concatenate([np.array(chosen, "<u8"), super().words(count - len(chosen))])


def test_a_small_uniform_gets_fresh_digits_until_it_has_fifty_three():
    assert fine(Rare(1 << 60), 1)[0] == 2.0**-4
    assert fine(Rare(1, 3 << 62), 1)[0] == (1 + 0.75) * 2.0**-64
    assert fine(Rare(0, 1, 1 << 63), 1)[0] == 2.0**-128 * 1.5
    twice = fine(Rare(0, 5, 1 << 63, 7), 2)
    assert np.array_equal(twice, [2.0**-65, 5 * 2.0**-64 + 7 * 2.0**-128])


def test_tails_reach_beyond_where_plain_uniforms_stop():
    """A 53-bit uniform ends at 8.57 standard deviations, a 64-bit one at 9.42."""
    smallest = fine(Rare(0, 0, 1), 1)[0]
    assert math.sqrt(-2 * math.log(smallest)) > 16


def test_tails_have_their_probability():
    sample = np.abs(draws(4_000_000, seed=9))
    for level in (4.0, 4.5, 5.0):
        expected = sample.size * math.erfc(level / math.sqrt(2))
        seen = int((sample > level).sum())
        assert stats.poisson.cdf(seen, expected) > FALSE_ALARM
        assert stats.poisson.sf(seen - 1, expected) > FALSE_ALARM


def test_fine_uniforms_are_uniform_at_every_scale():
    uniforms = fine(Keystream(b"k" * 32), 2_000_000)
    assert uniforms.min() > 0
    assert uniforms.max() <= 1
    small = uniforms[uniforms < 2.0**-10]
    assert stats.kstest(small * 2**10, "uniform").pvalue > FALSE_ALARM


def test_every_call_takes_a_fresh_key():
    asked = []

    def entropy(count):
        asked.append(count)
        return bytes([len(asked)]) * count

    first = noise.gaussian(8, sd=1.0, entropy_for_tests_only=entropy)
    second = noise.gaussian(8, sd=1.0, entropy_for_tests_only=entropy)
    assert asked == [32, 32]
    assert not np.intersect1d(first, second).size


def test_without_an_injected_source_no_two_calls_repeat():
    sample = np.concatenate([noise.gaussian(9, sd=1.0) for _ in range(200)])
    assert np.unique(sample).size == sample.size


@pytest.mark.parametrize("size", [0, 1, 2, 3, 8191, 8192, 8193, 65537])
def test_any_number_of_draws(size):
    assert draws(size).shape == (size,)
    assert np.isfinite(draws(size)).all()


def test_aes_is_aes():
    """NIST SP 800-38A has no zero-counter vector; this is the FIPS 197 cipher of a zero block."""
    words = Keystream(bytes(32)).words(2).tobytes()
    assert words.hex() == "dc95c078a2408989ad48a21492842087"


def foreign_randomness(source):
    """Line numbers and names of what would be, or might hide, another generator."""
    modules = {"random", "numpy.random"}
    attributes = {"random", "rand", "randn", "randint", "normal", "default_rng", "RandomState",
                  "manual_seed", "normal_", "uniform_", "rvs"}  # fmt: skip
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.ImportFrom):
            imported = {f"{node.module}.{alias.name}" for alias in node.names}
            # The operating system's own generator is no other source; it shuffles the outbox.
            system = imported == {"random.SystemRandom"}
            names = set() if system else ({node.module} | imported) & modules
        else:
            names = {node.attr} & attributes if isinstance(node, ast.Attribute) else set()
        yield from ((node.lineno, name) for name in names)


@pytest.mark.parametrize(
    "source",
    [
        "import random", "from random import gauss", "import numpy.random as r",
        "from numpy import random", "import numpy as np; np.random.normal()",
        "import torch; torch.randn(3)", "from numpy.random import default_rng", "x.normal_(0, 1)",
        "from scipy import stats; stats.norm.rvs(size=3)",
    ],
)  # fmt: skip
def test_the_scan_below_finds_what_it_looks_for(source):
    assert list(foreign_randomness(source))


def test_no_other_source_of_randomness_is_reachable_in_the_node():
    """Noise from a predictable generator is no noise: nothing in the node may import one.

    But the twins, whose simulated days never leave: the test below holds them apart.
    """
    folder = Path(hospital_node.__file__).parent
    found = [
        (path.relative_to(folder).as_posix(), *each)
        for path in sorted(folder.rglob("*.py"))
        if not path.is_relative_to(folder / "twins")
        for each in foreign_randomness(path.read_text())
    ]
    assert not found


SENDING = r"(egress|secure_sum\w*|train|local_training|session|evaluate|node|privacy)\b"


def test_the_dice_of_the_twins_stay_with_the_twins():
    """What trains, adds noise or sends imports no twins; what rolls dice imports none of that."""
    folder = Path(hospital_node.__file__).parent
    imports = rf"from hospital_node(\.| import .*\b){SENDING}"
    assert re.search(imports, "from hospital_node.node import x")
    twins = (folder / "twins").rglob("*.py")
    dice = [path for path in twins if any(foreign_randomness(path.read_text()))]
    assert len(dice) >= 3
    assert not [path.name for path in dice if re.search(imports, path.read_text())]
    sending = [path for path in folder.rglob("*.py") if re.match(SENDING, _inside(path, folder))]
    assert len(sending) >= 20
    assert not [path.name for path in sending if "hospital_node.twins" in path.read_text()]


def _inside(path, folder):
    """The module's or first folder's name."""
    return path.relative_to(folder).parts[0].removesuffix(".py")


def test_within_the_privacy_folder_only_two_modules_touch_randomness():
    folder = Path(hospital_node.__file__).parent / "privacy"
    users = [p.name for p in sorted(folder.glob("*.py")) if "urandom" in p.read_text()]
    assert users == ["noise.py", "sampler.py"]
    assert not [p for p in folder.glob("*.py") if list(foreign_randomness(p.read_text()))]


def test_the_entropy_argument_is_used_by_tests_alone():
    folder = Path(hospital_node.__file__).parent
    users = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if "entropy_for_tests_only" in path.read_text()
    ]
    assert sorted(users) == ["privacy/mechanism.py", "privacy/noise.py", "privacy/sampler.py"]
