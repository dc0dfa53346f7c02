"""The faults that the verifier can report are those that the documentation lists."""

import ast
import re
import sys
from pathlib import Path

from ledger import verify

ROOT = Path(__file__).parents[3]


def test_every_code_is_documented_and_every_documented_code_exists():
    used = set(re.findall(r'"(V\d{3})"', Path(verify.__file__).read_text("utf-8")))
    documented = re.findall(
        r"^\| (V\d{3}) \|", (ROOT / "docs" / "evidence_pack.md").read_text("utf-8"), re.MULTILINE
    )
    assert documented == sorted(used)


def test_the_verifier_imports_the_standard_library_only():
    tree = ast.parse(Path(verify.__file__).read_text("utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert imported <= set(sys.stdlib_module_names)
    assert not imported & {"socket", "urllib", "http", "ssl", "subprocess", "os", "shutil"}
