"""What the documents tell people to type exists, and what they point to is there."""

import re

import pytest

from tests.unit.docs.commands import DOCUMENTS, ROOT, Written, fault_in, written_in

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
QUOTED_IN_SOURCE = re.compile(r"`(twinward [a-z][^`{\n\"]*?)`")
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)(?:: (\w+))?`")
PACKAGES = ("twinward", "models", "ledger", "consent", "hospital_node", "server")


def anchors(text):
    """The anchors of a page, by the rule of the usual forges."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_shown_can_be_typed(document):
    faults = {str(each): fault_in(each) for each in written_in(document)}
    assert {text: fault for text, fault in faults.items() if fault} == {}


def test_the_readme_shows_the_commands_of_each_person():
    shown = {each.text.split()[1] for each in written_in(ROOT / "README.md") if each.whole}
    assert {"server", "node", "consent", "verify", "demo"} <= shown


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("twinward node sing hospital founding.json", "there is no command `sing`"),
        ("twinward verify pack.zip --foundng f.json", "No such option"),
        ("twinward verify", "missing: PACK"),
        ("twinward verify a.zip b.zip", "too much"),
        ("twinward server plan folder --study s --slot soon", "not a valid float"),
        ("twinward consent", "a command is missing"),
    ],
)
def test_a_command_with_a_fault_is_noticed(text, fault):
    assert fault in (fault_in(Written(ROOT / "README.md", text, whole=True)) or "")


def test_every_command_that_an_error_or_a_docstring_names_exists():
    faults = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for words in QUOTED_IN_SOURCE.findall(path.read_text(encoding="utf-8")):
                # Of alternatives such as `a grant | withdraw` the first one is enough.
                each = Written(path, words.split(" | ")[0], whole=False)
                if fault := fault_in(each):
                    faults[str(each)] = fault
    assert faults == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document):
    lost = []
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (document.parent / name).resolve() if name else document
        known = page.exists() and (not anchor or anchor in anchors(page.read_text("utf-8")))
        if not known:
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_function_that_is_named_exists(document):
    lost = []
    folders = {*PACKAGES, "tests", "docs"}
    for name, function in PATH.findall(document.read_text(encoding="utf-8")):
        if name.split("/")[0] not in folders:
            continue  # a file of a role's folder, not of the repository
        if re.search(r"/v\d+$", name):
            continue  # a kind of document: twinward/plan/v1
        path = ROOT / name
        if not path.exists():
            lost.append(name)
        elif function and not re.search(
            rf"^\s*(?:async )?def {function}\(", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            lost.append(f"{name}: {function}")
    assert lost == []
