"""Names of blocks from the scopes that exporters leave behind."""

from __future__ import annotations

import pytest
from onnx import helper

from onnxvis.graph.scopes import Scopes
from onnxvis.graph.view import GraphView


def view_of(*nodes: tuple[str, str], metadata: dict[int, str] | None = None) -> GraphView:
    """A chain of (operator, node name)."""
    protos = [helper.make_node(op, [f"t{i}"], [f"t{i + 1}"], name=name) for i, (op, name) in enumerate(nodes)]
    for index, text in (metadata or {}).items():
        protos[index].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=text)
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in ("t0", f"t{len(nodes)}")]
    return GraphView(helper.make_model(helper.make_graph(protos, "g", values[:1], values[1:])))


def test_widest_first_and_only_what_holds_nothing_else() -> None:
    view = view_of(
        ("Conv", "/layer1/layer1.0/conv1/Conv"),
        ("Relu", "/layer1/layer1.0/relu/Relu"),
        ("Conv", "/layer1/layer1.1/conv1/Conv"),
        ("Conv", "/layer2/layer2.0/conv1/Conv"),
    )
    scopes = Scopes(view)
    assert scopes.labels(view.nodes[:2]) == ["layer1.0", "layer1.0.conv1"]
    assert scopes.labels(view.nodes[:3]) == ["layer1"]
    assert scopes.labels(view.nodes[3:]) == ["layer2", "layer2.0", "layer2.0.conv1"]
    assert scopes.labels(view.nodes[1:2]) == ["layer1.0.relu"]
    assert scopes.labels(view.nodes) == []
    assert scopes.labels([]) == []


def test_what_all_share_is_left_out() -> None:
    view = view_of(("Conv", "/model/features/a/Conv"), ("Conv", "/model/features/b/Conv"))
    assert Scopes(view).labels(view.nodes[:1]) == ["a"]


@pytest.mark.parametrize(
    ("name", "label"),
    {
        "/features/features.3/conv/conv.0/conv.0.0/Conv": "features.3.conv.0.0",
        "/backbone/stage2/blocks/blocks.0/conv1/Conv": "backbone.stage2.blocks.0.conv1",
        "stage3/block5/conv/Conv": "stage3.block5.conv",
        "/down1/maxpool_conv/maxpool_conv.1/Conv": "down1.maxpool_conv.1",
    }.items(),
)
def test_as_people_write_it(name: str, label: str) -> None:
    view = view_of(("Conv", name), ("Conv", "/other/x/Conv"))
    assert Scopes(view).labels(view.nodes[:1])[-1] == label


def test_names_without_scopes() -> None:
    view = view_of(("Conv", "Conv_0"), ("Conv", ""))
    assert Scopes(view).labels(view.nodes[:1]) == []


def test_scopes_in_metadata() -> None:
    text = "['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']"
    view = view_of(
        ("Conv", "node_conv2d_1"), ("Conv", "node_conv2d_2"), metadata={0: text, 1: "['', 'fc', 'fc.0', 'x']"}
    )
    assert Scopes(view).labels(view.nodes[:1]) == ["layer1", "layer1.0", "layer1.0.conv1"]


@pytest.mark.parametrize("text", ["", "[", "1", "[1, 2]", "__import__('os')", "[" * 3000, "['a'," * 900])
def test_odd_metadata_is_no_scope(text: str) -> None:
    view = view_of(("Conv", "a"), metadata={0: text})
    assert Scopes(view).labels(view.nodes) == []
