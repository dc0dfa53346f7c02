"""`docs/configuration.md` lists exactly the settings and variables that there are."""

import re

import pytest

from consent.portal.settings import MailSettings, PortalSettings
from hospital_node.fhir import ClientSettings, FhirSettings
from hospital_node.policy_terms import Approver, Contact, SitePolicy, StudyPolicy
from hospital_node.settings import NodeSettings
from server.settings import ServerSettings
from tests.unit.docs.commands import ROOT

PAGE = ROOT / "docs" / "configuration.md"
POLICY = ROOT / "docs" / "policy.md"
PACKAGES = ("twinward", "models", "ledger", "consent", "hospital_node", "server")
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)
VARIABLE = re.compile(r"TWINWARD_[A-Z][A-Z_]*[A-Z]")


def section(title, page=PAGE):
    """The rows under a heading: name to the second column."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^##+ {re.escape(title)}$(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title}"
    return {name: default.strip() for name, default in ROW.findall(found[1])}


def spelled(field):
    """A default as the page spells it: as TOML."""
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{each}"' for each in value) + "]`" if value else "none"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("`node.toml`", NodeSettings),
        ("`coordinator.toml`", ServerSettings),
        ("`fhir.toml`", FhirSettings),
        ("One of `[[clients]]`", ClientSettings),
        ("`portal.toml`", PortalSettings),
        ("`[mail]`", MailSettings),
    ],
)
def test_every_setting_is_listed_with_its_default(title, model):
    assert section(title) == {name: spelled(field) for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("The site", SitePolicy),
        ("`[[studies]]`", StudyPolicy),
        ("`[[approvers]]`", Approver),
        ("`[[contacts]]`", Contact),
    ],
)
def test_every_term_of_the_policy_is_listed_with_its_default(title, model):
    listed = section(title, POLICY)
    assert listed == {name: spelled(field) for name, field in model.model_fields.items()}


def test_every_variable_is_listed():
    sources = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    sources += [ROOT / "Makefile", ROOT / ".ci" / "run"]
    used = {name for path in sources for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert set(section("Variables of the environment")) == used
