"""Chokepoints against the slow, obvious way: take the tensor out and look whether the sink is still reached."""

from __future__ import annotations

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxvis.graph.flow import Flow
from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.view import GraphView

Edges = list[list[int]]


def flow_of(reads: Edges) -> Flow:
    """A graph whose node i makes t{i + 1} from the tensors reads[i]; t0 is the input."""
    nodes = [helper.make_node("Sum", [f"t{j}" for j in sources], [f"t{i}"]) for i, sources in enumerate(reads, 1)]
    read = {j for sources in reads for j in sources}
    ends = [f"t{i}" for i in range(1, len(reads) + 1) if i not in read]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ["t0", *ends]]
    view = GraphView(helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:])))
    return Flow(view, FeatureMaps(view))


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    """Random graphs in order: each node reads one to three of the tensors before it, most of them near."""
    count = draw(st.integers(1, 14))
    return [
        sorted({max(0, i - draw(st.integers(1, 4))) for _ in range(draw(st.integers(1, 3)))})
        for i in range(1, count + 1)
    ]


def reaches(flow: Flow, sources: set[str], sinks: set[str], without: str) -> bool:
    reached = sources - {without}
    for name in flow.order:
        if name != without and any(item in reached for item in flow.before(name)):
            reached.add(name)
    return bool(reached & sinks)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.data())
def test_chokepoints_are_what_cuts_the_way(reads: Edges, data: st.DataObject) -> None:
    flow = flow_of(reads)
    sources = data.draw(st.sets(st.sampled_from(flow.order[:3]), min_size=1, max_size=2))
    sinks = data.draw(st.sets(st.sampled_from(flow.order), min_size=1, max_size=3))
    expected = [
        name for name in flow.order if reaches(flow, sources, sinks, "") and not reaches(flow, sources, sinks, name)
    ]
    assert flow.chokepoints(sources, sinks) == expected


@settings(max_examples=150, deadline=None)
@given(graphs(), st.data())
def test_following_leads_through_the_chokepoints(reads: Edges, data: st.DataObject) -> None:
    flow = flow_of(reads)
    sinks = data.draw(st.sets(st.sampled_from(flow.order), min_size=1, max_size=3))
    following = flow.following(sinks)
    for start in flow.order:
        chain, name = [], start if start in following else ""
        while name:
            chain.append(name)
            name = following[name]
        assert chain == flow.chokepoints([start], sinks)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_ancestors_and_descendants_mirror_each_other(reads: Edges) -> None:
    flow = flow_of(reads)
    for name in flow.order:
        assert flow.ancestors([name]) == {item for item in flow.order if name in flow.descendants([item])}
        assert flow.ancestors([name], {name}) == set()


def test_the_cost_is_linear() -> None:
    def steps(count: int) -> int:
        flow = flow_of([[max(0, i - 2), i - 1] if i > 1 else [0] for i in range(1, count)])
        calls = 0
        before, after = flow.before, flow.after

        def count_before(name: str) -> list[str]:
            nonlocal calls
            calls += 1
            return before(name)

        def count_after(name: str) -> list[str]:
            nonlocal calls
            calls += 1
            return after(name)

        flow.before, flow.after = count_before, count_after  # type: ignore[method-assign]
        flow.chokepoints(["t0"], [flow.order[-1]])
        return calls

    assert steps(2000) < 2.2 * steps(1000)
    assert steps(1000) <= 4 * 1000


def parsed(body: str, outputs: str = "float[] y") -> Flow:
    w = "w = Constant <value = float[2, 2, 1, 1] {1, 2, 3, 4}> ()"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1, 2, 8, 8] x) => ({outputs}) {{ {w} {body} }}'
    model = onnx.parser.parse_model(text)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    view = GraphView(model)
    return Flow(view, FeatureMaps(view))


def test_a_basis_is_what_an_activation_is_of() -> None:
    flow = parsed("""
        c = Conv (x, w) s = Sigmoid (c) silu = Mul (c, s)
        g = GlobalAveragePool (silu) e = Conv (g, w) h = HardSigmoid (e) gated = Mul (h, silu)
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (gated) y = Relu (p)""")
    assert {name: flow.basis[name] for name in ("s", "silu", "h", "gated", "y")} == {
        "s": "c",
        "silu": "c",
        "h": "e",
        "gated": "c",
        "y": "p",
    }
    assert flow.family["c"] == ["c", "s", "silu", "gated"]
    assert flow.is_convolution("silu")
    assert not flow.is_convolution("y")


def test_joins_are_of_two_branches_of_data() -> None:
    flow = parsed("b = Constant <value = float[1] {1}> () a = Conv (x, w) n = Add (a, b) j = Add (n, x) y = Relu (j)")
    assert flow.basis["n"] == "a"
    assert not flow.is_join("n")
    assert flow.is_join("j")
    assert flow.is_join("y")


def test_depthwise_expansion_and_projection() -> None:
    flow = parsed("""
        d = Constant <value = float[2, 1, 1, 1] {1, 2}> ()
        e = Conv (x, w) r = Relu (e) m = Conv <group = 2> (r, d) q = Relu (m) y = Conv (q, w)""")
    assert [flow.is_expansion(name) for name in ("e", "r", "m", "y")] == [True, True, False, False]
    assert [flow.is_depthwise(name) for name in ("e", "m", "q", "y")] == [False, True, True, False]
    assert [flow.is_projection(name) for name in ("e", "m", "y")] == [False, False, True]
