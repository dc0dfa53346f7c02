import re
from pathlib import Path

from twinward.explain import known_codes

ROOT = Path(__file__).parents[3]
PACKAGES = ("twinward", "models", "ledger", "consent", "hospital_node", "server")
CODE = re.compile(r"""code="(TW\d{4})""")


def codes_in_source():
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found |= set(CODE.findall(path.read_text(encoding="utf-8")))
    return found


def test_every_code_that_is_raised_is_explained_and_every_explanation_is_of_a_code():
    assert set(known_codes()) == codes_in_source()


def test_every_explanation_says_cause_and_fix():
    for code, (cause, fix) in known_codes().items():
        assert len(cause) > 10, code
        assert len(fix) > 5, code


def test_no_other_distribution_supplies_our_import_names():
    from importlib.metadata import packages_distributions

    for package in PACKAGES:
        assert packages_distributions().get(package, ["twinward"]) == ["twinward"]
