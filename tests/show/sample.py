"""A page with plausible contents, for tests: random convolutions of a drawn scene, in the shape of a small ResNet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from onnxvis.graph.kernels import Kernel
from onnxvis.graph.weights import Quantization
from onnxvis.measure.boxes.detections import Box, Detections
from onnxvis.measure.channels import channel_statistics
from onnxvis.measure.class_map import class_map
from onnxvis.measure.faithfulness.curves import Curve, Faithfulness
from onnxvis.measure.statistics import summarise
from onnxvis.measure.weights import WeightNumbers
from onnxvis.run.labels import Labels
from onnxvis.show.class_map import ClassMapCard, class_map_cards
from onnxvis.show.colormap import palette
from onnxvis.show.depth import depth_charts
from onnxvis.show.excited import ChannelCard, Excited, PatchCard
from onnxvis.show.found import FoundCard, found_card
from onnxvis.show.kernels import draw_kernels
from onnxvis.show.merge import merge, overlay
from onnxvis.show.mosaic import mosaic, stretch
from onnxvis.show.page import (
    Fact,
    Guess,
    HeatmapCard,
    InputCard,
    KernelCard,
    LayerRow,
    LeftOut,
    MapCard,
    ModelCard,
    MosaicCard,
    Notice,
    OutputCard,
    Page,
    Picture,
    Port,
    RunCard,
    Score,
)
from onnxvis.show.png import encode_indexed, encode_jpeg, encode_rgb
from onnxvis.show.trust import TrustCard, draw_trust

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scene(size: int = 128) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 RGB: a few shapes on a gradient."""
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:] = np.linspace(40, 190, size, dtype=np.uint8)[:, None, None]
    cv2.circle(picture, (size // 3, size // 2), size // 5, (220, 90, 60), -1)
    cv2.rectangle(picture, (size // 2, size // 4), (size - size // 8, size // 2), (60, 120, 220), -1)
    return picture


def feature_maps(picture: NDArray[np.uint8], channels: int, size: int, seed: int) -> NDArray[np.float32]:
    """(channels, size, size) float32: rectified random 5 × 5 convolutions; channel 1 is all zero."""
    random = np.random.default_rng(seed)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 - 0.5
    kernels = random.standard_normal((channels, 5, 5)).astype(np.float32) / 5
    mixed = small @ random.standard_normal((3, channels)).astype(np.float32)
    filtered = [cv2.filter2D(mixed[:, :, k], -1, kernels[k]) for k in range(channels)]
    maps: NDArray[np.float32] = np.maximum(np.stack(filtered), 0).astype(np.float32)
    maps[min(1, channels - 1)] = 0
    return maps


def map_card(
    name: str, picture: NDArray[np.uint8], channels: int, size: int, seed: int, children: tuple[MapCard, ...] = ()
) -> MapCard:
    maps = feature_maps(picture, channels, size, seed)
    stretched = stretch(maps, "channel")
    laid = mosaic(stretched.indices)
    over = overlay(picture, merge(maps, "mean"), palette("viridis"), 0.65, gray=True)
    return MapCard(
        name=name,
        tensor=f"/{name.replace('.', '/')}/relu/Relu_output_0",
        kind="residual" if "." in name else "stage",
        channels=channels,
        height=size,
        width=size,
        part="stem" if name == "stem" else "backbone",
        statistics=channel_statistics(maps),
        merged=Picture(encode_jpeg(over), over.shape[1], over.shape[0], f"{name} over the input", "image/jpeg"),
        merged_how="mean of the channels",
        mosaic=MosaicCard(
            png=encode_indexed(laid.pixels, palette("viridis")),
            columns=laid.columns,
            rows=laid.rows,
            tile_height=laid.tile_height,
            tile_width=laid.tile_width,
            gap=laid.gap,
            stretch="channel",
            low=tuple(stretched.low.tolist()),
            high=tuple(stretched.high.tolist()),
        ),
        children=children,
    )


def input_card(picture: NDArray[np.uint8], plan: tuple[tuple[str, int, int, int], ...]) -> InputCard:
    stages = []
    for number, (name, channels, size, blocks) in enumerate(plan):
        inside = tuple(
            map_card(f"{name}.block{b + 1}", picture, channels, size, 100 * number + b + 1) for b in range(blocks)
        )
        stages.append(map_card(name, picture, channels, size, 100 * number, inside))
    scores = ((967, "espresso", 0.8123), (504, "coffee mug", 0.102), (968, "cup", 0.0611), (809, "soup bowl", 0.0102))
    return InputCard(
        name="coffee.png",
        picture=Picture(encode_rgb(picture), picture.shape[1], picture.shape[0], "the input as the model saw it"),
        preparation=(
            Fact("Original", "600 × 400 RGB"),
            Fact("Resized", "shorter side to 256, bilinear"),
            Fact("Cropped", "centre 224 × 224"),
            Fact("Scaled", "÷ 255, − mean (0.485, 0.456, 0.406), ÷ std (0.229, 0.224, 0.225)"),
            Fact("Chosen by", "guess: imagenet"),
        ),
        outputs=(
            OutputCard(
                "logits",
                (1, 1000),
                "float32",
                scores=tuple(Score(*score) for score in (*scores, (666, "mortar", 0.00042))),
                scores_are="softmax of the logits",
                max_abs_difference=3.1e-6,
                relative_difference=2.4e-7,
            ),
            OutputCard("features", (1, 512), "float32", max_abs_difference=0.0, relative_difference=0.0),
        ),
        stages=tuple(stages),
    )


def heatmap_cards(picture: NDArray[np.uint8]) -> tuple[HeatmapCard, ...]:
    """Two heatmaps: of a layer for the best class, and of the picture itself for an output that is no class."""
    heat = np.linspace(0, 1, picture.shape[0])[:, None] * np.ones(picture.shape[1])
    pixels = overlay(picture, heat, palette("turbo"), 0.55, gray=True)
    shown = Picture(encode_jpeg(pixels), pixels.shape[1], pixels.shape[0], "gradcam over the input", "image/jpeg")
    definition = "relu(sum_k w_k A_k), w_k = mean over positions of dy/dA_k (Selvaraju et al., 2017)"
    return (
        HeatmapCard(
            "gradcam", definition, ("/layer4/relu/Relu_output_0",), "logits:967", "967 espresso", 0.8123, (12, 34),
            ("the layer is the last feature map before the head",), "CPUExecutionProvider", shown,
        ),
        HeatmapCard("saliency", "max |dy/dx|", (), "features:3,1", "element 3, 1", None, None, (), "CPU", shown),
    )  # fmt: skip


def excited(picture: NDArray[np.uint8], seed: int = 0, channels: int = 3) -> Excited:
    """Channels with a map, a projection and five patches each, cut from the picture."""
    random = np.random.default_rng(seed)
    cards = []
    for channel in range(channels):
        heat = random.random((8, 8))
        over = overlay(picture, heat, palette("viridis"), 0.65, gray=True)
        row, column = divmod(int(heat.argmax()), 8)
        patches = []
        for place in range(5):
            y, x = random.integers(0, 96, 2).tolist()
            pixels = np.ascontiguousarray(picture[y : y + 32, x : x + 32])
            name = f"pictures/{place}.png"
            patches.append(PatchCard(name, 5.5 - place, 1, 2, (y, x, y + 32, x + 32), encode_jpeg(pixels), 32, 32))
        height, width = picture.shape[:2]
        projection = encode_jpeg(np.asarray(cv2.GaussianBlur(picture, (5, 5), channel + 1), np.uint8))
        cards.append(
            ChannelCard(10 * channel, row, column, 9.5 - channel, width, height, encode_jpeg(over), projection,
                        tuple(patches))
        )  # fmt: skip
    return Excited(tuple(cards), ("patches of 5 pictures",), ("the rule was extended to Clip",))


def with_excited(page: Page) -> Page:
    """`page` with the strongest channels beside each stage of the backbone."""
    inputs = []
    for card in page.inputs:
        stages = tuple(
            replace(stage, strongest=excited(scene(), place)) if stage.part == "backbone" else stage
            for place, stage in enumerate(card.stages)
        )
        inputs.append(replace(card, stages=stages))
    return replace(page, inputs=tuple(inputs))


def trust() -> TrustCard:
    """Curves that rise to 0.9 and fall from it."""
    fractions = tuple(step / 28 for step in range(29))
    rising = tuple(0.9 * share**0.5 for share in fractions)
    insertion, deletion = Curve(fractions, rising, 0.6), Curve(fractions, rising[::-1], 0.6)
    (card,) = draw_trust([Faithfulness(insertion, deletion, "the class's probability")])
    return card


def detected(count: int = 5) -> FoundCard:
    """Boxes in the sample's picture, the scores 0.9, 0.7, …, 0.1; with more, evenly from 0.9 down to 0.1."""
    random = np.random.default_rng(6)
    boxes: list[Box] = []
    for score in np.linspace(0.9, 0.1, count).tolist():
        x, y, width, height = random.uniform((0, 0, 10, 10), (90, 90, 60, 60)).tolist()
        boxes.append(Box(x, y, x + width, y + height, len(boxes) % 3, round(score, 4), "head", 1, 2, 0, 16))
    found = Detections("YOLOv3 heads", tuple(boxes), 3, 0.05, 0.45, 2 * count, ("one note",))
    return found_card(found, (128, 128), Labels({0: "star", 1: "ring", 2: "heart"}, "sample"))


def class_map_card(classes: int = 15) -> ClassMapCard:
    """A map of random classes over the sample's picture."""
    found = class_map("classes", np.random.default_rng(8).integers(0, classes, (1, 32, 32)), (128, 128))
    assert found is not None
    return class_map_cards([found], scene(), None)[0]


def weight_cards(count: int) -> tuple[WeightNumbers, ...]:
    """Kernels and biases; the third is a quantised one, its scale the bias before it, and hides in a Constant."""
    random = np.random.default_rng(3)
    cards: list[WeightNumbers] = []
    for index in range(count):
        bias = index % 3 == 1
        values = random.standard_normal(64 if bias else 20_000) * (0.02 + 0.01 * (index % 5)) + 0.003 * (index % 4)
        if index % 5 == 4:
            values = random.laplace(0, 0.03, values.size)
        quantised = index == 2
        place, kind = f"layer{1 + index // 12}.{index // 6 % 2}", "bias" if bias else "weight"
        cards.append(
            WeightNumbers(
                name=f"{place}.conv{index}.{kind}",
                role="bias" if bias else "conv kernel",
                op="Conv",
                storage="raw_data",
                place="Constant k" if quantised else "",
                shape=(64,) if bias else (64, 64, 3, 3),
                dtype="int8" if quantised else "float32",
                statistics=summarise(values.astype(np.float32)),
                quantization=Quantization("int8", 0, 0, (cards[1].name,), "") if quantised else None,
                steps=summarise(np.rint(values * 500).astype(np.int8)) if quantised else None,
            )
        )
    return tuple(cards)


def kernel_cards(weights: tuple[WeightNumbers, ...]) -> tuple[KernelCard, ...]:
    """A picture for every kernel of `weights`; the first reads the input's colours, the second is 1 × 1."""
    random = np.random.default_rng(4)
    cards = []
    for order, item in enumerate(item for item in weights if item.role == "conv kernel"):
        size = 1 if order == 1 else 3
        shape = (16, 3 if order == 0 else 8, size, size)
        drawn = draw_kernels(random.standard_normal(shape), rgb=order == 0, limit=12)
        label = f"{size} × {size} conv"
        kernel = Kernel(
            item.name, f"/conv{order}/Conv", "Conv", f"conv{order}_output", shape, 1, (1, 1), (1, 1),
            "standard" if size > 1 else "pointwise", label, order == 0, order,
        )  # fmt: skip
        cards.append(KernelCard(kernel, drawn))
    return tuple(cards)


def layer_rows(count: int) -> tuple[LayerRow, ...]:
    operators = ("Conv", "BatchNormalization", "Relu", "Conv", "Add")
    rows = []
    for index in range(count):
        stage, block, op = f"layer{1 + index // 15}", index // 5 % 3, operators[index % 5]
        name = f"/{stage}/{stage}.{block}/{op.lower()}/{op}_output_0"
        rows.append(LayerRow(name, op, (1, 64, 56, 56), "float32", "backbone", stage, f"{stage}.block{block + 1}"))
    return tuple(rows)


SMALL = (("stem", 8, 32, 0), ("layer1", 8, 32, 2), ("layer2", 12, 16, 1))


def sample_page(
    picture: NDArray[np.uint8] | None = None,
    plan: tuple[tuple[str, int, int, int], ...] = SMALL,
    weights: int = 6,
    layers: int = 20,
) -> Page:
    """A whole page; `plan` lists the stages as name, channels, size and number of blocks."""
    picture = scene() if picture is None else picture
    stored = weight_cards(weights)
    return Page(
        version="0.1.0",
        model=ModelCard(
            file="resnet18.onnx",
            size_bytes=46_832_113,
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            producer="pytorch 2.3.0",
            opset="17",
            parameters=11_689_512,
            macs=1_814_073_344,
            inputs=(Port("input", ("N", 3, 224, 224), "float32"),),
            outputs=(Port("logits", ("N", 1000), "float32"), Port("features", ("N", 512), "float32")),
            nodes=69,
            metadata=(
                Fact("task", "classify"),
                Fact("names", "{0: 'tench', 1: 'goldfish', 2: 'great white shark'}" * 9),
            ),
        ),
        run=RunCard(
            provider="CPUExecutionProvider",
            versions=(Fact("onnxvis", "0.1.0"), Fact("onnxruntime", "1.31.0"), Fact("onnx", "1.23.0")),
            date="2026-01-31 12:00 UTC",
            seconds=(("Deployed run", 0.0213), ("Exposed run", 0.0312), ("Whole report", 1.42)),
            provider_note="auto: no CUDA device was found, so the CPU ran it",
        ),
        inputs=(input_card(picture, plan),),
        weights=stored,
        kernels=kernel_cards(stored),
        kernels_note="At most 12 filters of a layer are shown; all: onnxvis weights resnet18.onnx -o DIR.",
        depth=depth_charts(stored),
        layers=layer_rows(layers),
        guess=Guess(
            "imagenet, RGB, 224 × 224",
            "The outputs look like 1,000 class scores, and neither the model nor a file beside it says more.",
            "--preprocess imagenet --size 224",
        ),
        notices=(Notice("1 of 64 channels of layer1 is constant on this input.", "warning", "Dead channels."),),
        left_out=(LeftOut("layer3.block1", 812_345, "over the budget; show it with --budget 20"),),
        budget_bytes=10_000_000,
        command="onnxvis report resnet18.onnx coffee.png",
        layers_note="",
    )
