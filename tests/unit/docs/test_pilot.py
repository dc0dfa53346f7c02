"""The pilot pack links to what there is, and its picture is the one that its source draws."""

import importlib.util
import json
import re

import pytest

from tests.unit.docs.commands import ROOT

PAGES = [*sorted((ROOT / "docs" / "pilot").glob("*.md")), ROOT / "docs" / "operations_backup.md"]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
PATH = re.compile(
    r"`((?:docs|docker|tests|twinward|consent|hospital_node|server|ledger|models|requirements)/"
    r"[\w./-]+)`"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if not link.startswith("http")]
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert not missing


def test_the_picture_is_what_its_source_draws():
    source = ROOT / "docs" / "pilot" / "data_flow.py"
    spec = importlib.util.spec_from_file_location("data_flow", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert source.with_suffix(".svg").read_text(encoding="utf-8") == module.drawing()


def test_rules_and_dashboard_ask_for_metrics_that_there_are():
    told = "".join((ROOT / role / "metrics.py").read_text() for role in ("hospital_node", "server"))
    folder = ROOT / "docker" / "metrics"
    dashboard = json.loads((folder / "grafana.json").read_text())
    asked = [one["targets"][0]["expr"] for one in dashboard["panels"]]
    asked += re.findall(r"expr: (.*)", (folder / "alerts.yml").read_text())
    names = set(re.findall(r"twinward_(\w+)", "\n".join(asked)))
    assert len(names) >= 8
    assert not [
        name for name in names if f'"{name}"' not in told and f"twinward_{name}" not in told
    ]
