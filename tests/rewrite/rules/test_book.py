from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx

from onnxvis.rewrite import rules
from onnxvis.rewrite.rules import book

FOLDER = Path(rules.__path__[0])


def test_every_file_that_registers_a_rule_is_read() -> None:
    hold = {path.stem for path in FOLDER.glob("*.py") if "@rule(" in path.read_text()}
    assert {module.__name__.rpartition(".")[2] for module in book.FILES} == hold


def test_one_import_registers_every_rule() -> None:
    code = "from onnxvis.rewrite.rules.book import RULES; print(len(RULES))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(found.stdout) == len(book.RULES)


def test_rules_are_for_operators_that_there_are() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    asked = {op for domain, op, _ in book.RULES if not domain} | {op for domain, op in book.CONSTANT if not domain}
    newer = {"Swish", "BitCast"}  # than the oldest release of onnx that onnxvis runs with
    assert asked - newer <= known
