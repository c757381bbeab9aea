"""The narrow YOLOv3: its shapes, what flows where, and its boxes against the training's own decoding."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[test,torch]'")

from onnxvis.models.yolo import DarknetConv, DecodedYolo, NarrowYolo, Residual  # noqa: E402
from onnxvis.models.yolo_loss import decode  # noqa: E402

ANCHORS = [[(50.0, 60.0), (70.0, 40.0)], [(30.0, 20.0), (22.0, 33.0)], [(9.0, 8.0), (12.0, 15.0)]]


@pytest.fixture
def picture() -> Any:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_it_has_five_stages_of_halved_resolution_and_three_heads(picture: Any) -> None:
    network = NarrowYolo(4, boxes=2, widths=(6, 8, 10, 12, 14)).eval()
    shapes = {}
    for name in (f"stage{number}" for number in range(1, 6)):
        getattr(network, name).register_forward_hook(lambda _, __, y, name=name: shapes.update({name: tuple(y.shape)}))
    heads = network(picture)
    assert shapes == {f"stage{k}": (2, 4 + 2 * k, 64 // 2**k, 64 // 2**k) for k in range(1, 6)}
    assert [tuple(head.shape) for head in heads] == [(2, 18, side, side) for side in (2, 4, 8)]


def test_a_residual_block_adds_what_its_convolutions_make() -> None:
    block = Residual(8).eval()
    x = torch.rand(1, 8, 5, 5)
    assert torch.allclose(block(x) - x, block.conv2(block.conv1(x)), atol=1e-6)


def test_a_darknet_convolution_is_convolution_norm_and_leaky_slope() -> None:
    layer = DarknetConv(3, 4, 3, 2).eval()
    layer.bn.running_mean[:], layer.bn.running_var[:] = torch.rand(4), torch.rand(4) + 0.5
    x = torch.randn(1, 3, 6, 6)
    plain = torch.nn.functional.conv2d(x, layer.conv.weight, stride=2, padding=1)
    plain = (plain - layer.bn.running_mean[:, None, None]) / (layer.bn.running_var[:, None, None] + 1e-5).sqrt()
    assert torch.allclose(layer(x), torch.where(plain > 0, plain, 0.1 * plain), atol=1e-5)


@pytest.mark.parametrize(("upper", "lower"), [("stage5", "head20"), ("neck5", "head10"), ("stage3", "head20")])
def test_coarse_maps_reach_the_finer_heads(picture: Any, upper: str, lower: str) -> None:
    network = NarrowYolo(4).eval()
    before = network(picture)
    place = ("head5", "head10", "head20").index(lower)
    getattr(network, upper).register_forward_hook(lambda _, __, y: y + 1)
    assert not torch.allclose(before[place], network(picture)[place])


def test_the_decoded_network_gives_the_heads_and_the_boxes_that_training_sees(picture: Any) -> None:
    network = DecodedYolo(4, 64, ANCHORS).eval()
    with torch.no_grad():
        *heads, boxes, scores = network(picture)
        plain = NarrowYolo(4, boxes=2).eval()
        plain.load_state_dict(network.state_dict())
        assert all(torch.equal(one, other) for one, other in zip(heads, plain(picture), strict=True))
    expected = [
        decode(head, torch.tensor(pairs), 64 // head.shape[-1]) for head, pairs in zip(heads, ANCHORS, strict=True)
    ]
    assert torch.allclose(boxes, torch.cat([corners.reshape(2, -1, 4) for corners, _ in expected], 1), atol=1e-3)
    chances = [(raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()).reshape(2, -1, 4) for _, raw in expected]
    assert torch.allclose(scores, torch.cat(chances, 1), atol=1e-6)
