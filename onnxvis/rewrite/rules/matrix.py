"""Products of matrices: Y = A B gives dL/dA = dL/dY Bᵀ and dL/dB = Aᵀ dL/dY.

A weight is turned by Gemm's flags where that can be: a transposed weight would be held in memory twice.
"""

from __future__ import annotations

from onnxvis.graph.types import Dim
from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []


@rule("Gemm")
def gemm(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """Y = alpha A' B' + beta C, ' for what the flags turn: dA' = alpha dY B'ᵀ, dB' = alpha A'ᵀ dY, dC = beta dY."""
    a, b, c = node.inputs[0], node.inputs[1], node.input(2)
    turned_a, turned_b = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))
    alpha = node.number("alpha", 1.0)

    def product(first: str, second: str, turn_first: bool, turn_second: bool) -> str:
        return tape.add("Gemm", [first, second], alpha=alpha, transA=int(turn_first), transB=int(turn_second))

    by_a = by_b = by_c = None
    if tape.wants(a):
        by_a = product(b, upstream, turned_b, True) if turned_a else product(upstream, b, False, not turned_b)
    if tape.wants(b):
        by_b = product(upstream, a, True, turned_a) if turned_b else product(a, upstream, not turned_a, False)
    if tape.wants(c):
        by_c = tape.sum_to(upstream, c, node.outputs[0])
        by_c = tape.add("Mul", [by_c, tape.number(node.number("beta", 1.0), c)])
    return [by_a, by_b, by_c]


@rule("MatMul")
def matmul(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """dA = dY Bᵀ, dB = Aᵀ dY, summed over the leading dimensions along which A or B was repeated.

    A vector stands for a matrix of one row on the left, of one column on the right.
    """
    a, b = node.inputs
    row, column = tape.rank(a) == 1, tape.rank(b) == 1
    if row or column:
        upstream = tape.unsqueeze(upstream, [-2] * row + [-1] * column)
    left = tape.unsqueeze(a, [0]) if row else a
    right = tape.unsqueeze(b, [1]) if column else b
    by_a = by_b = None
    if tape.rank(b) <= 2:
        if tape.rank(a) > 2:
            upstream = _rows(upstream, 1 if column else tape.shape(b)[1], b, tape)
        if tape.wants(a):
            by_a = _shaped(tape.add("Gemm", [upstream, right], transB=1), a, tape)
        if tape.wants(b):
            rows = _rows(a, tape.shape(a)[-1], a, tape) if tape.rank(a) > 2 else left
            by_b = _shaped(tape.add("Gemm", [rows, upstream], transA=1), b, tape)
        return [by_a, by_b]
    if tape.wants(a):
        by_a = _sum_leading(tape.add("MatMul", [upstream, _turned(right, b, tape)]), a, b, tape)
    if tape.wants(b):
        by_b = _sum_leading(tape.add("MatMul", [_turned(left, a, tape), upstream]), b, a, tape)
    return [by_a, by_b]


def _rows(source: str, width: Dim, like: str, tape: Tape) -> str:
    """`source` as a matrix of rows, with the last dimension that the given tensor `like` has, `width`."""
    if isinstance(width, int):
        return tape.add("Reshape", [source, tape.ints([-1, width])])
    return tape.add("Reshape", [source, tape.add("Concat", [tape.ints([-1]), tape.size_of(like, -1)], axis=0)])


def _shaped(matrix: str, like: str, tape: Tape) -> str:
    """`matrix` in the shape of the given tensor `like`."""
    return matrix if tape.rank(like) == 2 else tape.reshape_like(matrix, like)


def _turned(source: str, given: str, tape: Tape) -> str:
    """`source`, which is the given tensor `given` or the matrix of it, with its last two dimensions swapped."""
    rank = max(2, tape.rank(given))
    return tape.add("Transpose", [source], perm=[*range(rank - 2), rank - 1, rank - 2])


def _sum_leading(source: str, like: str, other: str, tape: Tape) -> str:
    """`source` summed over the leading dimensions that `like` was repeated along to meet `other`, in its shape."""
    small, large = tape.shape(like)[:-2], tape.shape(other)[:-2]
    count = max(len(small), len(large))
    lead = count - len(small)
    pairs = list(zip((1,) * lead + small, (1,) * (count - len(large)) + large, strict=True))
    if any(_may_be_repeated(*pair) for pair in pairs):
        return _sum_leading_at_run_time(source, like, lead, tape)
    axes = [axis for axis, pair in enumerate(pairs) if pair[0] == 1 != pair[1]]
    if axes:
        source = tape.reduce_sum(source, axes)
    return tape.reshape_like(source, like) if lead or tape.rank(like) == 1 else source


def _may_be_repeated(size: Dim, other: Dim) -> bool:
    """Whether it is not known before the run whether a dimension was repeated."""
    return not isinstance(size, int) and other != 1 and (size is None or size != other)


def _sum_leading_at_run_time(source: str, like: str, lead: int, tape: Tape) -> str:
    shape = tape.shape_of(like)
    padded = tape.add("Concat", [tape.ints([1] * lead), shape], axis=0) if lead else shape
    differ = tape.add("Not", [tape.add("Equal", [padded, tape.add("Shape", [source])])])
    axes = tape.add("Reshape", [tape.add("NonZero", [differ]), tape.ints([-1])])
    summed = tape.add("ReduceSum", [source, axes], keepdims=1, noop_with_empty_axes=1)
    return tape.add("Reshape", [summed, shape])


@rule("Einsum")
def einsum(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """The gradient of an operand is the sum of products of dL/dy and the other operands, by their indices."""
    terms, output = _terms(node, tape)
    gradients: list[str | None] = []
    for place, (name, term) in enumerate(zip(node.inputs, terms, strict=True)):
        if not tape.wants(name):
            gradients.append(None)
            continue
        others = [item for item in range(len(terms)) if item != place]
        given = [output, *(terms[item] for item in others)]
        met = "".join(index for index in term if any(index in item for item in given))
        operands = [upstream, *(node.inputs[item] for item in others)]
        gradient = tape.add("Einsum", operands, equation=f"{','.join(given)}->{met}")
        if met != term:
            gradient = tape.unsqueeze(gradient, [axis for axis, index in enumerate(term) if index not in met])
            gradient = tape.expand_like(gradient, name)
        # a free dimension that turns out to be 1 where another operand has more stops the run here
        gradients.append(tape.add("Reshape", [gradient, tape.shape_of(name)]))
    return gradients


def _terms(node: Node, tape: Tape) -> tuple[list[str], str]:
    """The indices of the operands and of the output. Raises NotDifferentiable for the forms that the rule lacks."""
    equation = node.text("equation", "").replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or any(len(set(term)) < len(term) for term in terms):
        raise NotDifferentiable(
            f"its equation '{equation}' names no output, leaves indices to '...' or has one twice in an operand; only "
            "equations with each index of each operand spelt out have a gradient here"
        )
    sizes: dict[str, int] = {}
    for name, term in zip(node.inputs, terms, strict=True):
        for index, size in zip(term, tape.shape(name), strict=True):
            if isinstance(size, int) and sizes.setdefault(index, size) != size:
                raise NotDifferentiable(f"index '{index}' of '{equation}' has sizes {sizes[index]} and {size}")
    return terms, output
