from __future__ import annotations

from collections.abc import Iterator

import pytest
from onnx import NodeProto

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import CONSTANT, RULES, Rule, find_rule, is_constant, is_plain, rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape


def node(op: str, domain: str = "") -> Node:
    return Node(0, op, "", domain, ("x",), ("y",), (), NodeProto())


def nothing(node: Node, upstream: str, tape: Tape) -> list[str]:
    return [upstream]


def other(node: Node, upstream: str, tape: Tape) -> list[str]:
    return [upstream]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def test_a_rule_is_found_by_domain_operator_and_variant() -> None:
    assert rule("Mine", "Yours")(nothing) is nothing
    rule("Mine", variant="guided")(other)
    rule("Mine", domain="elsewhere", every_output=True)(other)
    assert find_rule(node("Mine"), "plain") == find_rule(node("Yours"), "plain") == Rule(nothing)
    assert find_rule(node("Mine"), "guided") == Rule(other)
    assert find_rule(node("Mine", "elsewhere"), "plain") == Rule(other, every_output=True)


def test_a_variant_without_a_rule_of_its_own_takes_the_plain_one() -> None:
    rule("Mine")(nothing)
    assert find_rule(node("Mine"), "deconvnet").apply is nothing


def test_onnxs_domain_has_two_names() -> None:
    rule("Mine")(nothing)
    assert find_rule(node("Mine", "ai.onnx"), "plain").apply is nothing
    assert is_constant(node("Shape", "ai.onnx"))


def test_an_operator_without_a_rule_is_refused() -> None:
    rule("Mine", domain="elsewhere")(nothing)
    rule("Yours", variant="guided")(nothing)
    for missing in (node("Mine"), node("Yours"), node("Mine", "com.microsoft")):
        with pytest.raises(NotDifferentiable, match="there is no rule for this operator"):
            find_rule(missing, "plain")


def test_a_second_rule_for_an_operator_is_refused_and_leaves_the_first() -> None:
    rule("Mine")(nothing)
    with pytest.raises(ValueError, match=r":Mine has a rule for variant 'plain' already"):
        rule("New", "Mine")(other)
    assert find_rule(node("Mine"), "plain").apply is nothing


def test_the_plain_rule_is_told_from_a_variants() -> None:
    rule("Mine")(nothing)
    rule("Mine", variant="guided")(other)
    assert is_plain(find_rule(node("Mine"), "plain"), node("Mine"))
    assert is_plain(find_rule(node("Mine"), "deconvnet"), node("Mine"))
    assert not is_plain(find_rule(node("Mine"), "guided"), node("Mine"))


def test_gradients_end_at_what_does_not_change_with_its_inputs() -> None:
    assert is_constant(node("ArgMax"))
    assert not is_constant(node("ArgMax", "elsewhere"))
    assert not is_constant(node("Relu"))
    assert not CONSTANT & {(domain, op) for domain, op, _ in RULES}
