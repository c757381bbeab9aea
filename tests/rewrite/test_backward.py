"""Reverse mode over whole graphs: what reaches what, what adds up, what is refused and how the refusal reads."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.backward import Obstacle
from onnxvis.rewrite.gradient import check_gradient, differentiate
from tests.rewrite.differences import apart, model_of
from tests.rewrite.slopes import agree, as_model, gradients, model_from, oracle, seeds_for, values_of
from tests.tiny import Array

ROW = np.array([[-1.2, 0.4, 2.1]], np.float32)
OTHER = np.array([[0.7, -0.3, 1.9]], np.float32)

SHARED = """
shared (float[1, 3] x, float[1, 3] z) => (float[1, 3] y, float[1, 3] v)
<float[3] w = {1, 2, -3}>
{
    a = Sigmoid(x)
    b = Mul(a, a)
    c = Add(b, x)
    d = Mul(c, z)
    y = Tanh(d)
    e = Mul(z, w)
    v = Add(e, a)
    unread = Exp(x)
}
"""


@pytest.mark.parametrize("of", [["y"], ["v"], ["y", "v"], ["v", "y"], ["a"], ["c", "y"], ["d", "a", "v"]])
@pytest.mark.parametrize("wrt", [["x"], ["a"], ["x", "a"], ["c", "x"], ["a", "x", "c"]])
def test_gradients_of_any_tensors_by_any_others(of: list[str], wrt: list[str]) -> None:
    reached = {"x": {"a", "c", "d", "y", "v"}, "a": {"a", "c", "d", "y", "v"}, "c": {"c", "d", "y"}}
    if all(reached[name] & set(of) for name in wrt):
        agree(model_from(SHARED), {"x": ROW, "z": OTHER}, of, wrt)
    else:
        with pytest.raises(RewriteError, match=r"not depend on 'c'|none of .* depends on 'c'"):
            differentiate(model_from(SHARED), of, wrt)


def test_a_tensor_by_itself_has_what_it_starts_from_as_its_gradient() -> None:
    model = model_from(SHARED)
    for name in ("x", "a", "y"):
        feeds = {"x": ROW, "z": OTHER}
        np.testing.assert_array_equal(gradients(model, feeds, [name], {name: OTHER})[name], OTHER)


def test_a_tensor_that_is_differentiated_and_read_on_the_way_gets_both() -> None:
    found = agree(model_from(SHARED), {"x": ROW, "z": OTHER}, ["a", "y"], ["a"])["a"]
    alone = gradients(model_from(SHARED), {"x": ROW, "z": OTHER}, ["a"], {"a": np.zeros_like(ROW)})["a"]
    assert np.abs(found - alone).min() > 0


def test_what_several_nodes_and_one_node_twice_read_adds_up() -> None:
    body = "g (float[1, 3] x) => (float[1, 3] y) { a = Mul(x, x) b = Add(x, x) c = Mul(a, b) y = Sum(c, x, c, a) }"
    found = agree(model_from(body), {"x": ROW}, ["y"], ["x"])["x"]
    seed = seeds_for(model_from(body), {"x": ROW}, ["y"])["y"].astype(np.float64)
    x = ROW.astype(np.float64)  # y = 4 x³ + x + x²
    np.testing.assert_allclose(found, seed * (12 * x**2 + 1 + 2 * x), rtol=1e-5)


def test_dead_ends_and_other_inputs_get_no_nodes() -> None:
    proto = differentiate(model_from(SHARED), ["v"], ["x"]).proto
    added = list(proto.graph.node)[len(model_from(SHARED).proto.graph.node) :]
    read = {name for node in added for name in node.input}
    assert not read & {"unread", "d", "z", "c", "b"}


OPS = {"Add": 2, "Mul": 2, "Sum": 3, "Relu": 1, "LeakyRelu": 1, "Sigmoid": 1, "Tanh": 1, "Softplus": 1}
KINKED = ("Relu", "LeakyRelu")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Model, dict[str, Array], list[str], list[str]]:
    """A graph in which any tensor made so far may be read again, its values, and what is asked of it."""
    names, nodes = ["x", "z"], []
    for number in range(draw(st.integers(2, 12))):
        op = draw(st.sampled_from(list(OPS)))
        read = [draw(st.sampled_from(names)) for _ in range(OPS[op])]
        names.append(f"t{number}")
        nodes.append(helper.make_node(op, read, [names[-1]]))
    proto = model_of(nodes, {"x": (2, 2), "z": (2,)}, {}, [names[-1]])
    of = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    wrt = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    seed = draw(st.integers(0, 99))
    feeds = {"x": apart((2, 2), 0.43, seed), "z": apart((2,), 0.57, seed)}
    return as_model(proto), feeds, of, wrt


def ancestors(model: Model, name: str) -> set[str]:
    """`name` and all that it is computed of, walked one edge at a time."""
    makers = {node.output[0]: node.input for node in model.proto.graph.node}
    found, waiting = {name}, [name]
    while waiting:
        for read in makers.get(waiting.pop(), ()):
            if read not in found:
                found.add(read)
                waiting.append(read)
    return found


@settings(max_examples=60)
@given(graphs())
def test_random_graphs(case: tuple[Model, dict[str, Array], list[str], list[str]]) -> None:
    model, feeds, of, wrt = case
    if any(all(name not in ancestors(model, end) for end in of) for name in wrt):
        with pytest.raises(RewriteError, match="in a way that has a gradient"):
            differentiate(model, of, wrt)
        return
    kinks = [node.input[0] for node in model.proto.graph.node if node.op_type in KINKED]
    assume(all(np.abs(value).min() > 1e-3 for value in values_of(model.proto, feeds, kinks).values()))
    seeds = seeds_for(model, feeds, of)
    expected = oracle(model, feeds, wrt, seeds)
    scale = max(float(np.abs(value).max()) for value in expected.values())
    if scale < 1e6:  # products of products grow beyond what differences can tell
        for name, found in gradients(model, feeds, wrt, seeds).items():
            np.testing.assert_allclose(found, expected[name], rtol=0, atol=2e-4 * max(1, scale))


# Refusals.


@pytest.mark.parametrize(
    ("of", "wrt", "words"),
    [
        ("y", "z", "'y' does not depend on 'z' in a way that has a gradient, so there is none to compute"),
        ("n", "x", "tensor 'n' holds int64, which has no gradient; name one of floats"),
        ("y", "k", "tensor 'k' holds int64, which has no gradient; name one of floats"),
        ("y", "w", "'w' is a weight; gradients are by inputs and what is computed of them"),
        ("w", "x", "'w' is a weight; gradients are by inputs and what is computed of them"),
        ("far", "x", "'far' does not depend on 'x' in a way that has a gradient, so there is none to compute"),
        ("size", "x", "'size' does not depend on 'x' in a way that has a gradient, so there is none to compute"),
        ("s", "x", "'s' is a sequence, which has no gradient; name a tensor of floats"),
    ],
)
def test_what_has_no_gradient_is_refused_in_one_sentence(of: str, wrt: str, words: str) -> None:
    body = """
    g (float[1, 3] x, float[3] z, int64[3] k) => (float[1, 3] y, float[3] far, float size) <float[3] w = {1, 2, 3}>
    {
        y = Mul(x, w)
        n = ArgMax<axis = 1, keepdims = 0>(x)
        m = Cast<to = 1>(n)
        far = Add(m, z)
        shape = Shape(x)
        total = ReduceProd<keepdims = 0>(shape)
        size = Cast<to = 1>(total)
        s = SplitToSequence(z)
    }
    """
    with pytest.raises(RewriteError) as caught:
        differentiate(model_from(body), [of], [wrt])
    assert str(caught.value) == words


def test_several_that_all_do_not_depend_are_named() -> None:
    with pytest.raises(RewriteError, match=r"none of 'c', 'b' depends on 'z' in a way that has a gradient"):
        differentiate(model_from(SHARED), ["c", "b"], ["z"])


def test_an_integer_or_a_shape_beside_the_way_takes_nothing_away() -> None:
    body = """
    g (float[2, 3] x) => (float[2, 3] y)
    { i = ArgMax<axis = 1>(x) f = Cast<to = 1>(i) r = Round(x) h = Mul(x, f) y = Add(h, r) }
    """
    x = np.array([[0.3, 1.2, -0.7], [2.2, 0.1, 0.4]], np.float32)
    found = agree(model_from(body), {"x": x}, ["y"], ["x"])["x"]
    seed = seeds_for(model_from(body), {"x": x}, ["y"])["y"]
    np.testing.assert_array_equal(found, seed * np.array([[1], [0]], np.float32))


REFUSING = """
g (float[1, 3] x) => (float[1, 3] y, float[1, 3] side) <float[1, 3] b>
{
    a = Relu(x)
    b = here.Odd(a)
    c = Exp(b)
    side = Tanh(c)
    d = Sigmoid(c)
    e = Neg(d)
    f = Add(e, c)
    y = Mul(f, f)
}
"""
HERE = ', "here": 1'


def refusal(model: Model, of: list[str], wrt: list[str], **options: Any) -> str:
    with pytest.raises(RewriteError) as caught:
        differentiate(model, of, wrt, **options)
    return str(caught.value)


def way(text: str) -> str:
    found = re.search(r"It lies on the way (.*); list all such nodes with: onnxvis gradient MODEL --check$", text)
    assert found, text
    return found[1]


def test_an_operator_without_a_rule_is_refused_with_the_way_to_it() -> None:
    text = refusal(model_from(REFUSING, header=HERE), ["y"], ["x"])
    assert text.startswith(
        "no gradient passes node Odd making 'b' (here:Odd): there is no rule for this operator. It lies on the way "
    )
    assert way(text) == "'y' ← Mul ← Add ← Exp ← here:Odd"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (["side"], "'side' ← Tanh ← Exp ← here:Odd"),
        (["y", "side"], "'side' ← Tanh ← Exp ← here:Odd"),
        (["y", "c"], "'c' ← Exp ← here:Odd"),
        (["y", "b"], "'b' ← here:Odd"),
        (["d"], "'d' ← Sigmoid ← Exp ← here:Odd"),
    ],
)
def test_the_way_is_the_shortest_one_to_what_is_differentiated(of: list[str], expected: str) -> None:
    assert way(refusal(model_from(REFUSING, header=HERE), of, ["x"])) == expected


def test_the_way_leads_where_a_gradient_leads() -> None:
    body = """
    g (float[1, 3] x) => (float[3] y)
    { b = here.Odd(x) s = Shape(b) r = Sigmoid(b) t = Tanh(r) u = Exp(t) y = Reshape(u, s) }
    """
    text = refusal(model_from(body.replace("float[3] y", "float[1, 3] y"), header=HERE), ["y"], ["x"])
    assert way(text) == "'y' ← Reshape ← Exp ← Tanh ← Sigmoid ← here:Odd"


def test_a_long_way_is_shortened_in_its_middle() -> None:
    steps = " ".join(f"t{number + 1} = {'Tanh' if number % 2 else 'Exp'}(t{number})" for number in range(12))
    body = f"g (float[1, 3] x) => (float[1, 3] t12) {{ t0 = here.Odd(x) {steps} }}"
    assert (
        way(refusal(model_from(body, header=HERE), ["t12"], ["x"])) == "'t12' ← Tanh ← Exp ← Tanh ← … ← Exp ← here:Odd"
    )


def test_a_rank_that_is_not_known_is_a_reason() -> None:
    body = "g (float[1, 3] x) => (float[1, 3] y) { h = here.Odd(x) y = Add(h, x) }"
    text = refusal(model_from(body, header=HERE), ["y"], ["x"])
    assert "node Add making 'y' (Add): the rank of tensor 'h' is not known. It" in text


@pytest.mark.parametrize("op", ["If", "Loop"])
@pytest.mark.parametrize("wrt", ["x", "a"])
def test_what_a_branch_or_a_body_does_with_a_tensor_is_refused(op: str, wrt: str) -> None:
    held = {
        "If": """h = If(flag) <
            then_branch = one () => (float[3] t) { t = Neg(a) },
            else_branch = two () => (float[3] e) { e = Identity(z) }>""",
        "Loop": """h = Loop(count, flag, a) <
            body = turn (int64 i, bool on, float[3] before) => (bool still, float[3] after)
            { still = Identity(on) after = Add(before, z) }>""",
    }
    body = f"""
    g (float[3] x, float[3] z, bool flag, int64 count) => (float[3] y) {{ a = Exp(x) {held[op]} y = Tanh(h) }}
    """
    text = refusal(model_from(body), ["y"], [wrt])
    assert f"node {op} making 'h' ({op}): what happens inside {op} depends on the run" in text
    assert way(text) == f"'y' ← Tanh ← {op}"


def test_a_branch_beside_the_way_is_no_obstacle() -> None:
    body = """
    g (float[3] x, float[3] z, bool flag) => (float[3] y)
    {
        h = If(flag) <
            then_branch = one () => (float[3] t) { t = Neg(z) },
            else_branch = two () => (float[3] e) { e = Exp(z) }>
        y = Mul(h, x)
    }
    """
    feeds = {"x": ROW[0], "z": OTHER[0], "flag": np.array(True)}
    agree(model_from(body), feeds, ["y"], ["x"])


def test_operators_of_other_domains_are_refused_by_their_domain() -> None:
    body = "g (float[1, 3] x) => (float[1, 3] y) { h = com.microsoft.Odd(x) y = Neg(h) }"
    text = refusal(model_from(body, header=', "com.microsoft": 1'), ["y"], ["x"])
    assert "(com.microsoft:Odd): there is no rule for this operator" in text
    assert way(text) == "'y' ← Neg ← com.microsoft:Odd"


def test_onnxs_own_domain_by_its_long_name_is_the_same() -> None:
    node = helper.make_node("Sigmoid", ["x"], ["y"], domain="ai.onnx")
    proto = model_of([node], {"x": (1, 3)}, {}, ["y"])
    model = as_model(proto)
    found = gradients(model, {"x": ROW}, ["x"], {"y": OTHER})["x"]
    gate = 1 / (1 + np.exp(-ROW.astype(np.float64)))
    np.testing.assert_allclose(found, OTHER * gate * (1 - gate), rtol=1e-6)


def test_a_second_output_that_carries_a_gradient_needs_a_rule_that_knows_it() -> None:
    body = """
    g (float[2, 3] x) => (float[2, 3] y) <float[3] w = {1, 1, 1}>
    { h, mean = LayerNormalization(x, w) y = Add(h, mean) }
    """
    text = refusal(model_from(body), ["y"], ["x"])
    assert "(LayerNormalization): its output 'mean' has no gradient" in text


def test_indices_used_as_data_end_a_gradient() -> None:
    body = """
    g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y)
    { p, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) f = Cast<to = 1>(i) y = Mul(p, f) }
    """
    agree(model_from(body), {"x": apart((1, 1, 4, 4))}, ["y"], ["x"])
    with pytest.raises(RewriteError, match="'f' does not depend on 'x' in a way that has a gradient"):
        differentiate(model_from(body), ["f"], ["x"])


def test_a_sequence_on_the_way_is_refused_and_not_passed_over() -> None:
    body = """
    g (float[4] x) => (float[4] y) { s = SplitToSequence(x) c = ConcatFromSequence<axis = 0>(s) y = Add(c, x) }
    """
    text = refusal(model_from(body, opset=18), ["y"], ["x"])
    assert "(ConcatFromSequence): there is no rule for this operator" in text


def test_codes_on_the_way_are_refused_and_not_passed_over() -> None:
    body = """
    g (float[4] x) => (float[4] y) <float one = {0.1}, uint8 zero = {7}>
    {
        q = QuantizeLinear(x, one, zero)
        i = MatMulInteger(q, q)
        f = Cast<to = 1>(i)
        y = Add(f, x)
    }
    """
    assert re.search(r"no gradient passes node .* \((Cast|MatMulInteger)\)", refusal(model_from(body), ["y"], ["x"]))


def test_an_input_that_a_rule_has_no_gradient_for_is_refused_where_it_matters() -> None:
    """The scales of a Resize come from the picture: a rule that passes them over would lose their part."""
    body = """
    g (float[1, 1, 4, 4] x) => (y)
    {
        m = ReduceMax<keepdims = 0>(x)
        four = Constant<value = int64[1] {4}>()
        s = Expand(m, four)
        h = Resize<mode = "nearest">(x, , s)
        y = Tanh(h)
    }
    """
    assert "(Resize)" in refusal(model_from(body.replace("=> (y)", "=> (float[a, b, c, d] y)")), ["y"], ["x"])


def test_what_a_variant_leaves_without_a_gradient_is_refused() -> None:
    """Guided backpropagation passes a unit's input alone, not its slope."""
    model = model_from("g (float[1, 3] x, float[3] z) => (float[1, 3] y) { y = PRelu(x, z) }")
    agree(model, {"x": ROW, "z": OTHER[0]}, ["y"], ["z"])
    text = refusal(model, ["y"], ["z"], variant="guided")
    assert text == "'y' does not depend on 'z' in a way that has a gradient, so there is none to compute"


# All obstacles at once.


def test_all_obstacles_are_listed_once_and_in_the_order_of_the_graph() -> None:
    body = """
    g (float[1, 3] x, float[1, 3] z, bool flag) => (float[1, 3] y, float[1, 3] v)
    <float[1, 3] a, float[1, 3] beside, float[1, 3] d>
    {
        a = here.First(x)
        b = Relu(a)
        c = If(flag) <
            then_branch = one () => (float[1, 3] t) { t = Neg(b) },
            else_branch = two () => (float[1, 3] e) { e = Identity(z) }>
        beside = here.Beside(z)
        d = here.Second(c, a)
        e = Add(d, d)
        f = Add(e, beside)
        y = here.Third(f)
        v = here.Unasked(f)
    }
    """
    model = model_from(body, header=HERE)
    reason = "there is no rule for this operator"
    assert check_gradient(model, ["y"], ["x"]) == (
        Obstacle("here:First", "First making 'a'", reason),
        Obstacle("If", "If making 'c'", "what happens inside If depends on the run"),
        Obstacle("here:Second", "Second making 'd'", reason),
        Obstacle("here:Third", "Third making 'y'", reason),
    )
    assert check_gradient(model, ["f"], ["b"])[0].op == "If"
    assert check_gradient(model, ["f"], ["d"]) == ()


def test_a_graph_without_obstacles_has_none() -> None:
    assert check_gradient(model_from(SHARED), ["y", "v"], ["x"]) == ()


def test_what_depends_on_nothing_is_refused_by_the_check_too() -> None:
    with pytest.raises(RewriteError, match="'y' does not depend on 'unread'"):
        check_gradient(model_from(SHARED), ["y"], ["unread"])


def test_a_weight_that_is_computed_of_an_input_passes_its_gradient() -> None:
    kernel = numpy_helper.from_array(np.array([[1.0, 2], [3, -1], [0.5, 0]], np.float32), "k")
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("MatMul", ["t", "k"], ["h"]),
        helper.make_node("Transpose", ["h"], ["turned"]),
        helper.make_node("MatMul", ["turned", "h"], ["y"]),
    ]
    proto = model_of(nodes, {"x": (1, 3)}, {"k": numpy_helper.to_array(kernel)}, ["y"])
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    agree(as_model(proto), {"x": ROW}, ["y"], ["x", "h"])
