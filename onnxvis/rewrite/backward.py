"""Reverse-mode differentiation, written as ONNX nodes.

Each node that lies between what is differentiated and what it is differentiated by is asked, from the last to the
first, for the gradients of its inputs given those of its outputs: a vector-Jacobian product. See Griewank and Walther,
Evaluating Derivatives, 2nd edition (2008), chapter 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.view import GraphView, Node, subgraphs
from onnxvis.rewrite.rules.book import Rule, find_rule, gated_units, is_constant, is_plain
from onnxvis.rewrite.tape import NotDifferentiable, Tape, Variant

__all__ = ["Obstacle", "backward", "obstacles"]

_STEPS_SHOWN = 6
_FLOATS = ("", "float16", "bfloat16", "float32", "float64")  # '' is not known


@dataclass(frozen=True)
class Obstacle:
    """A node that no gradient passes: its operator with the domain, how messages name it, and why."""

    op: str
    node: str
    reason: str


def backward(tape: Tape, seeds: Mapping[str, str], wrt: Sequence[str], variant: Variant = "plain") -> dict[str, str]:
    """Write the gradients of sum over t of <seeds[t], t> by the tensors `wrt`; returns {tensor: its gradient}.

    `seeds` is {tensor: the tensor that holds what its gradient starts from, of its shape and type}.
    Raises RewriteError for a tensor that no seed depends on, and with the node, its operator and the way to it for an
    operator that has no rule.
    """
    nodes = _between(tape, seeds, wrt)
    gated = gated_units(tape, nodes, variant)
    for node in reversed(nodes):
        try:
            _pass(tape, node, variant, gated)
        except NotDifferentiable as refusal:
            raise RewriteError(_refused(tape, node, str(refusal), seeds)) from refusal
    if variant != "plain" and not tape.altered:
        tape.note(f"no unit like Relu lies on the way, so the {variant} rule gives the plain gradient")
    gradients = {}
    for name in wrt:
        found = tape.upstream(name)
        if found is None:
            raise RewriteError(_unreached(seeds, name))
        gradients[name] = found
    return gradients


def obstacles(tape: Tape, of: Iterable[str], wrt: Sequence[str], variant: Variant = "plain") -> tuple[Obstacle, ...]:
    """Every node between `wrt` and `of` that no gradient passes. The draft is of no use afterwards.

    Raises RewriteError for a tensor that none of `of` depends on.
    """
    seeds = {name: tape.zeros_like(name) for name in of}
    nodes = _between(tape, seeds, wrt)
    gated = gated_units(tape, nodes, variant)
    found = []
    for node in reversed(nodes):
        try:
            _pass(tape, node, variant, gated)
        except NotDifferentiable as refusal:
            found.append(Obstacle(_operator(node), node.label, str(refusal)))
            for name in filter(tape.wants, (*node.inputs, *node.captures)):
                tape.give(name, tape.zeros_like(name))
    return tuple(reversed(found))


def _between(tape: Tape, seeds: Mapping[str, str], wrt: Sequence[str]) -> list[Node]:
    """The nodes that a gradient passes on its way from `seeds` to `wrt`, in order; the tape is told what they want."""
    view = tape.view
    for name in (*seeds, *wrt):
        _check_kind(view, name)
    reached = set(wrt)
    for node in view.nodes:
        if not is_constant(node) and any(name in reached for name in (*node.inputs, *node.captures)):
            reached.update(name for name in node.outputs if name and _carries(view, node, name, reached))
    needed = set(seeds)
    nodes: list[Node] = []
    for node in reversed(view.nodes):
        if not any(name in needed and name in reached for name in node.outputs):
            continue
        if any(name in reached for name in (*node.inputs, *node.captures)):
            nodes.append(node)
            needed.update(filter(None, (*node.inputs, *node.captures)))
    for name in wrt:
        if name not in needed:
            raise RewriteError(_unreached(seeds, name))
    tape.begin(frozenset(reached & needed), seeds)
    return nodes[::-1]


def _check_kind(view: GraphView, name: str) -> None:
    """Raise RewriteError for a tensor that no gradient is of or by."""
    dtype = view.tensor(name).dtype
    if dtype.endswith("_type"):
        kind = dtype.removesuffix("_type").replace("_", " ")
        raise RewriteError(f"'{one_line(name)}' is a {kind}, which has no gradient; name a tensor of floats")
    if dtype not in _FLOATS:
        raise RewriteError(f"tensor '{one_line(name)}' holds {dtype}, which has no gradient; name one of floats")
    if name in view.initializers:
        raise RewriteError(f"'{one_line(name)}' is a weight; gradients are by inputs and what is computed of them")


def _carries(view: GraphView, node: Node, name: str, reached: Set[str]) -> bool:
    """Whether a tensor of this type can carry a gradient: floats, the codes that stand for them, and what holds them.

    What is not a tensor has no rule; it counts here so that it is refused, not passed over.
    """
    dtype = view.tensor(name).dtype
    if dtype.startswith("float") or dtype in _FLOATS or dtype.endswith("_type"):
        return True
    coded = "Quantize" in node.op or any(item in reached and _holds_codes(view, item) for item in node.inputs)
    return coded and _holds_codes(view, name)


def _holds_codes(view: GraphView, name: str) -> bool:
    return view.tensor(name).dtype.startswith(("int", "uint")) and view.tensor(name).dtype != "int64"


def _pass(tape: Tape, node: Node, variant: Variant, gated: Mapping[int, Rule]) -> None:
    """Give the node's inputs their gradients."""
    upstream = tape.upstream(node.outputs[0]) if node.outputs else None
    extra = [name for name in node.outputs[1:] if name and tape.upstream(name) is not None]
    if upstream is None and not extra:
        return
    if next(subgraphs(node.proto), None) is not None:
        raise NotDifferentiable(f"what happens inside {node.op} depends on the run")
    rule = gated.get(node.index) or find_rule(node, variant)
    if extra and not rule.every_output:
        raise NotDifferentiable(f"its output '{one_line(extra[0])}' has no gradient")
    try:
        gradients = rule.apply(node, upstream or "", tape)
    except RewriteError as error:  # of the draft: a rank that is not known
        raise NotDifferentiable(str(error)) from error
    given = {name: gradient for name, gradient in zip(node.inputs, gradients, strict=False) if gradient}
    missing = next((name for name in node.inputs if tape.wants(name) and name not in given), "")
    if missing and is_plain(rule, node):
        raise NotDifferentiable(f"there is no gradient by its input '{one_line(missing)}'")
    for name, gradient in zip(node.inputs, gradients, strict=False):
        if gradient and tape.wants(name):
            tape.give(name, gradient)


def _operator(node: Node) -> str:
    return f"{node.domain}:{node.op}" if node.domain else node.op


def _refused(tape: Tape, node: Node, reason: str, seeds: Iterable[str]) -> str:
    way = " ← ".join(_way(tape, node, set(seeds)))
    return (
        f"no gradient passes node {node.label} ({one_line(_operator(node))}): {reason}. It lies on the way {way}; list "
        "all such nodes with: onnxvis gradient MODEL --check"
    )


def _way(tape: Tape, node: Node, ends: Set[str]) -> list[str]:
    """One of `ends` and the operators from there back to `node`, by the shortest way that a gradient takes, with the
    middle left out where it is long.
    """
    before: dict[str, tuple[str, Node]] = {name: ("", node) for name in node.outputs if tape.wants(name)}
    waiting = deque(before)
    while waiting and waiting[0] not in ends:
        name = waiting.popleft()
        for reader in tape.view.consumers(name):
            for made in reader.outputs:
                if made not in before and tape.wants(made):
                    before[made] = (name, reader)
                    waiting.append(made)
    name = waiting[0] if waiting else ""
    steps = [f"'{one_line(name, 40)}'"] if name else []
    while name:
        name, maker = before[name]
        steps.append(one_line(_operator(maker)))
    return [*steps[: _STEPS_SHOWN - 2], "…", *steps[-2:]] if len(steps) > _STEPS_SHOWN + 1 else steps


def _unreached(seeds: Iterable[str], name: str) -> str:
    ends = [f"'{one_line(end, 60)}'" for end in seeds]
    subject = f"{ends[0]} does not depend" if len(ends) == 1 else f"none of {', '.join(ends[:3])} depends"
    return f"{subject} on '{one_line(name)}' in a way that has a gradient, so there is none to compute"
