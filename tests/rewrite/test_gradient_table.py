"""docs/gradients.md has a row for every operator with a rule, and every rule has something that tests it."""

from __future__ import annotations

import re

from onnxvis.rewrite.rules.book import CONSTANT
from tests.rewrite.directions import relative_errors
from tests.rewrite.gradient_table import HEADS, PAGE, Row, operators, own_cases
from tests.rewrite.node_gradients import case_of, limit, names, operator_of

TEXT = PAGE.read_text(encoding="utf-8")


def rows() -> list[Row]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line[:1] == "|"]
    head, rule, *lines = cells
    assert tuple(head) == HEADS
    assert set(rule) == {"---"}
    counts = [[0 if cell == "–" else int(cell) for cell in line[2:4]] for line in lines]
    return [
        Row(op, tuple(variants.split(", ")), own, nodes, float(worst), float(most))
        for (op, variants, _, _, worst, most), (own, nodes) in zip(lines, counts, strict=True)
    ]


def test_every_operator_with_a_rule_has_one_row_with_its_variants() -> None:
    assert [(row.op, row.variants) for row in rows()] == list(operators().items())


def test_every_error_is_within_the_limit_that_the_tests_hold() -> None:
    wrong = [row for row in rows() if not 0 <= row.worst <= row.limit or row.limit != limit(row.op)]
    assert wrong == []


def test_the_page_counts_the_cases_that_there_are() -> None:
    found = own_cases()
    counted = {row.op: row.own_cases for row in rows()}
    assert {op: count for op, count in counted.items() if count != len(found.get(op, ()))} == {}, (
        "write the page again: python -m tests.rewrite.gradient_table"
    )


def test_the_page_names_all_operators_that_end_gradients() -> None:
    named = re.search(r"^- No gradient goes through .* They are (.*)\.$", TEXT, re.MULTILINE)
    assert named
    assert named[1].split(", ") == sorted(op for _, op in CONSTANT)


def test_every_rule_has_a_case_or_a_node_test() -> None:
    bare = operators().keys() - own_cases().keys()
    tests = {op: next((name for name in names() if operator_of(name) == op), "") for op in bare}
    assert "" not in tests.values(), tests
    for op, name in tests.items():
        assert max(relative_errors(case_of(name), "fed").values()) <= limit(op)


def test_every_case_is_of_an_operator_with_a_rule() -> None:
    assert own_cases().keys() - operators().keys() == set()
