"""Rules of differentiation by operator: a decorator over plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxvis.graph.view import Node
from onnxvis.rewrite.tape import NotDifferentiable, Tape, Variant

__all__ = ["CONSTANT", "RULES", "Rule", "RuleFunction", "find_rule", "is_constant", "is_plain", "rule"]

RuleFunction = Callable[[Node, str, Tape], Sequence[str | None]]
"""Given a node, the gradient of its first output and the tape: the gradient of each input, None where there is none.

It may return fewer than there are inputs. What `tape.wants` not is not used, so it need not be computed; None for an
input that it wants refuses the node, so a gradient that is zero throughout is given as zeros. Raises NotDifferentiable
with the reason where it cannot be.
"""

CONSTANT = frozenset(
    ("", op)
    for op in (
        "ArgMax", "ArgMin", "And", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Bernoulli",
        "Ceil", "Constant", "ConstantOfShape", "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual", "IsInf",
        "IsNaN", "Less", "LessOrEqual", "NonMaxSuppression", "NonZero", "Not", "Or", "RandomNormal",
        "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Round", "Shape", "Sign", "Size", "Xor",
    )
)  # fmt: skip
"""(domain, operator) of those whose outputs do not change with a small change of any input: gradients end there."""


@dataclass(frozen=True)
class Rule:
    """How one operator passes a gradient. `every_output`: it asks the tape for the gradients of all its outputs, and
    is given '' where the first has none.
    """

    apply: RuleFunction
    every_output: bool = False


RULES: dict[tuple[str, str, Variant], Rule] = {}
"""{(domain, operator, variant): rule}"""


def rule(
    *ops: str, variant: Variant = "plain", domain: str = "", every_output: bool = False
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a function as the rule of these operators. Raises ValueError where one of them has a rule already."""

    def register(function: RuleFunction) -> RuleFunction:
        for op in ops:
            if (domain, op, variant) in RULES:
                raise ValueError(f"{domain}:{op} has a rule for variant '{variant}' already")
            RULES[domain, op, variant] = Rule(function, every_output)
        return function

    return register


def find_rule(node: Node, variant: Variant) -> Rule:
    """The rule of `node`'s operator, the plain one where the variant has none. Raises NotDifferentiable for no rule."""
    found = RULES.get((_domain(node), node.op, variant)) or RULES.get((_domain(node), node.op, "plain"))
    if found is None:
        raise NotDifferentiable("there is no rule for this operator")
    return found


def is_plain(rule: Rule, node: Node) -> bool:
    """Whether that rule of `node` is its derivative, not another variant's."""
    return RULES.get((_domain(node), node.op, "plain")) is rule


def is_constant(node: Node) -> bool:
    """Whether gradients end at `node`."""
    return (_domain(node), node.op) in CONSTANT


def _domain(node: Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain
