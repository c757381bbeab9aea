"""What is measured: each experiment says its processes, its lines of the table and their limits."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from benchmarks.experiment import Experiment, Line, Side
from benchmarks.inputs import Inputs

__all__ = ["EXPERIMENTS", "RESNET_CHILDREN", "YOLOV3_STAGES"]

YOLOV3_STAGES = tuple(
    f"/backbone/stage{stage}/blocks/blocks.{last}/Add_output_0" for stage, last in enumerate((0, 1, 7, 7, 3), 1)
)
RESNET_CHILDREN = (
    "/conv1/Conv_output_0",
    "/bn1/BatchNormalization_output_0",
    "/relu/Relu_output_0",
    "/maxpool/MaxPool_output_0",
    *(f"/layer{stage}/layer{stage}.{last}/relu_2/Relu_output_0" for stage, last in enumerate((2, 3, 22, 2), 1)),
    "/avgpool/GlobalAveragePool_output_0",
)

_UNIT = ("--preprocess", "unit", "--fit", "stretch")
_IMAGENET = ("--preprocess", "imagenet", "--fit", "stretch")
_GROWTH_LIMIT = 2.5  # doubled work may take twice the time and some noise; quadratic cost would take four times


def _onnxvis(*arguments: object, threads: int) -> tuple[str, ...]:
    """The installed command, as people call it."""
    program = shutil.which("onnxvis", path=sysconfig.get_path("scripts")) or "onnxvis"
    return (program, *map(str, arguments), "--threads", str(threads), "--quiet")


def _python(module: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments))


def _named(tensors: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for name in tensors for word in ("--tensor", name))


def darknet_channels(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """Maps of Darknet-53's five stages, and on our side the histograms of all weights too."""
    maps, files, weights, theirs = (scratch / name for name in ("maps", "files", "weights", "theirs"))
    look = ("features", inputs.yolov3, inputs.picture, *_named(YOLOV3_STAGES), *_UNIT)
    both = _onnxvis(*look, "--mosaics", "--weights", "-o", maps, threads=threads)
    stages = _onnxvis(*look, "--mosaics", "-o", maps, threads=threads)
    each = _onnxvis(*look, "--weights", "-o", files, threads=threads)
    drawn = _onnxvis("weights", inputs.yolov3, "-o", weights, threads=threads)
    tutorial = _python("tutorials.darknet_channels", inputs.yolov3_weights, inputs.picture, theirs, threads)
    return Experiment(
        "darknet-channels",
        "The 1,984 channels of the five stages of Darknet-53 in YOLOv3, 416 × 416. Theirs: a state dict loaded in "
        "PyTorch, one JPEG a channel, no histograms. Ours: `features --mosaics --weights`, a picture a stage, each "
        "channel a tile, and the histograms of all 366 weights as numbers; then the same with a file a channel; then "
        "`features --mosaics` and `weights -o` (histograms as PNG and SVG, and kernels), two processes added up.",
        (
            Side("mosaics", (both,), (maps,), 5 + 1),
            Side("tutorial", (tutorial,), (theirs,), 1984),
            Side("files", (each,), (files,), 1984 + 1),
            Side("maps", (stages,), (maps,), 5),
            Side("drawn", (stages, drawn), (maps, weights), 5 + 366),
        ),
        (
            Line("YOLOv3's stages as mosaics + all histograms / tutorial", "mosaics.seconds", "tutorial.seconds", 0.45),
            Line("… a file a channel + all histograms / tutorial", "files.seconds", "tutorial.seconds"),
            Line("… mosaics alone / tutorial", "maps.seconds", "tutorial.seconds"),
            Line("… + all histograms and kernels drawn / tutorial", "drawn.seconds", "tutorial.seconds"),
        ),
    )


def resnet_children(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """ResNet-101's top level, every channel in two sizes."""
    maps, files, theirs = (scratch / name for name in ("maps", "files", "theirs"))
    look = ("features", inputs.resnet101, inputs.picture, *_named(RESNET_CHILDREN), *_IMAGENET, "--colormap", "jet")
    children = _onnxvis(*look, "--mosaics", "-o", maps, threads=threads)
    each = _onnxvis(*look, "--upscale", 256, "-o", files, threads=threads)
    tutorial = _python("tutorials.resnet_children", inputs.resnet101_weights, inputs.picture, theirs, threads)
    return Experiment(
        "resnet-children",
        "The 6,144 channels of ResNet-101's nine children before the last layer (conv1, bn1, relu, maxpool, layer1 to "
        "layer4, avgpool), batch norm kept, coloured by JET. Theirs: PyTorch and OpenCV, two PNGs a channel, in its "
        "own size and enlarged to 256 pixels: 12,288 files. Ours: `features --mosaics`, a picture a child in which "
        "each channel is a tile; then the same 12,288 files.",
        (
            Side("mosaics", (children,), (maps,), 9),
            Side("tutorial", (tutorial,), (theirs,), 12288),
            Side("files", (each,), (files,), 12288),
        ),
        (
            Line("ResNet-101's children as mosaics / tutorial", "mosaics.seconds", "tutorial.seconds", 0.12),
            Line("… two files a channel / tutorial", "files.seconds", "tutorial.seconds"),
        ),
    )


def weight_histograms(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """A histogram a parameter of ResNet-101."""
    pictures, both, theirs = (scratch / name for name in ("pictures", "both", "theirs"))
    draw = ("weights", inputs.resnet101, "--draw", "histograms", "-o")
    tutorial = _python("tutorials.weight_histograms", inputs.resnet101_weights, theirs, threads)
    return Experiment(
        "weight-histograms",
        "Histograms of 50 bins of ResNet-101's 522 parameters, a picture each. Its state dict has 626 entries: the "
        "104 counters `num_batches_tracked` are left out on both sides, batch norm is kept. Theirs: a matplotlib "
        "figure each, as JPEG. Ours: `weights -o --draw histograms --format png`, 522 files; then each as a PNG and "
        "as an SVG, 1,044 files.",
        (
            Side("pictures", (_onnxvis(*draw, pictures, "--format", "png", threads=threads),), (pictures,), 522),
            Side("tutorial", (tutorial,), (theirs,), 522),
            Side("both", (_onnxvis(*draw, both, threads=threads),), (both,), 1044),
        ),
        (
            Line("ResNet-101's 522 histograms / tutorial", "pictures.seconds", "tutorial.seconds", 0.03),
            Line("… each as PNG and as SVG / tutorial", "both.seconds", "tutorial.seconds"),
        ),
    )


def report(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """The report on YOLOv3 beside what running the model takes anyway."""
    page, small = scratch / "report.html", scratch / "small.html"
    arguments = ("report", inputs.yolov3, inputs.picture, "--heatmaps", "none", *_UNIT)
    kept = _onnxvis(*arguments, "--budget", 7, "-o", small, threads=threads)
    mosaics = tuple(f" channels of backbone.stage{stage} in " for stage in range(1, 6))
    fed = (inputs.yolov3, inputs.yolov3_input, threads)
    return Experiment(
        "report",
        "The report on YOLOv3 at 416 × 416 without heatmaps. Beside it, time: a process that imports ONNX Runtime, "
        "creates a session from the path and runs once. Memory: a process that loads the model with onnx, adds the "
        "five stages as outputs, serialises it, and runs that. Size: the page kept to 7 MB, which must hold "
        "the mosaics of all five stages.",
        (
            Side("page", (_onnxvis(*arguments, "-o", page, threads=threads),), (page,)),
            Side("session", (_python("programs.run_once", *fed),)),
            Side("extend", (_python("programs.extend_and_run", *fed, *YOLOV3_STAGES),)),
            Side("small", (kept,), (small,), page=small, holds=mosaics),
        ),
        (
            Line("report on YOLOv3 / session and one run", "page.seconds", "session.seconds", 2.2),
            Line("its peak memory / load, extend, serialise, run", "page.peak", "extend.peak", 0.6, "MiB"),
            Line("its time / load, extend, serialise, run", "page.seconds", "extend.seconds"),
            Line("its size with --budget 7", "small.bytes", None, 7.0, "MB"),
            Line("stages whose mosaic is not on that page", "small.lacking", None, 0.0, "of 5"),
        ),
    )


def small_report(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """The report on a model below 5 MB."""
    page = scratch / "report.html"
    command = _onnxvis("report", inputs.small_model, inputs.small_picture, "-o", page, threads=threads)
    return Experiment(
        "small-report",
        "The report on the classifier that comes with onnxvis (2.8 MB), with one picture and default options.",
        (Side("page", (command,), (page,)),),
        (Line("report on a model below 5 MB", "page.seconds", None, 1.5),),
    )


def statistics(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """Numbers of weights, inside one process."""
    del scratch, threads
    return Experiment(
        "statistics",
        "Mean, deviation, extremes, zeros, NaNs, infinities and 50 bins of ResNet-101's 44.5 million parameters, by "
        "`onnxvis.measure.statistics.summarise`, beside `numpy.histogram`, `mean`, `std`, `min` and `max` in the "
        "weights' own float32; in turn inside one process, one thread on both sides.",
        (Side("process", (_python("programs.statistics", inputs.resnet101),), prints=True),),
        (Line("statistics of 44.5 M parameters / NumPy", "process.ours", "process.theirs", 0.5),),
    )


def plain(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """Opening and running a model, nothing else."""
    del scratch
    fed = (inputs.yolov3, inputs.yolov3_input, threads)
    return Experiment(
        "plain",
        "YOLOv3 opened and run once. Ours: `load`, then a session over the skeleton that maps the weights. Theirs: "
        "ONNX Runtime given the path.",
        (
            Side("onnxvis", (_python("programs.run_ours", *fed),)),
            Side("onnxruntime", (_python("programs.run_once", *fed),)),
        ),
        (
            Line("open and run YOLOv3 / plain ONNX Runtime", "onnxvis.seconds", "onnxruntime.seconds"),
            Line("its peak memory / plain ONNX Runtime", "onnxvis.peak", "onnxruntime.peak", None, "MiB"),
        ),
    )


def growth(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """The cost of a report as a model doubles, and doubles again."""
    del inputs
    kinds = ("pixels", "parameters", "layers")
    sides = (
        Side(kind, (_python("programs.growth", kind, scratch / kind, threads),), (scratch / kind,), prints=True)
        for kind in kinds
    )
    lines = [
        (f"{kind} {label}: report", f"{kind}.{larger}", f"{kind}.{smaller}")
        for kind in kinds
        for label, larger, smaller in (("1 → 2", "double", "single"), ("2 → 4", "fourfold", "double"))
    ]
    return Experiment(
        "growth",
        "Reports on chains of convolutions, inside one process, less what the report on a chain of one takes. 'Ours' "
        "is the doubled model, 'theirs' the one before: linear cost gives a ratio of about 2, quadratic 4.",
        tuple(sides),
        tuple(Line(title, ours, theirs, _GROWTH_LIMIT) for title, ours, theirs in lines),
    )


def gradients(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """Forward and backward of five networks, inside one process."""
    del inputs
    models = scratch / "models"
    networks = {"squeezenet1_1": "SqueezeNet", "resnet18": "ResNet-18", "alexnet": "AlexNet", "vgg16": "VGG-16"}
    networks["darknet53"] = "Darknet-53"
    each = (
        Line(f"{title}: gradient by the picture / PyTorch", f"process.{name}.ours", f"process.{name}.theirs")
        for name, title in networks.items()
    )
    builds = (
        Line(f"{title}: writing the gradient graph", f"process.{name}.build", None, 0.5)
        for name, title in networks.items()
    )
    return Experiment(
        "gradients",
        "Forward and backward by the picture of five networks, 224 × 224, batch norm kept, in turn inside one process "
        "on the same weights, after both have warmed up. Ours: the gradient graph in one ONNX Runtime session, "
        "optimised. Theirs: PyTorch's autograd over the same operators, weights without gradients. The limit is for "
        "the median of the five ratios. Then what it takes to write each graph, from an opened model.",
        (Side("process", (_python("programs.gradients", models, threads),), (models,), 5, prints=True),),
        (*each, Line("the median of these five ratios", "process.ratio", None, 0.95, "×"), *builds),
    )


def perturbations(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
    """Heatmaps of many runs, on ResNet-18."""
    del inputs
    models, small = scratch / "models", scratch / "small"
    return Experiment(
        "perturbations",
        "Heatmaps of ResNet-18's last layer, 512 channels at 224 × 224, random weights, in turn inside one process: "
        "Score-CAM masks the picture and runs the whole model once a channel, Ablation-CAM sets each channel to zero. "
        "Theirs: pytorch-grad-cam, which runs the whole model for both. Ours: ONNX Runtime, for Ablation-CAM only on "
        "what comes after the layer. Then the peak memory of a process that makes the model and Recipro-CAM of its "
        "second stage: 784 runs of what comes after it, one for each of 28 × 28 positions.",
        (
            Side("process", (_python("programs.perturbations", models, threads),), (models,), prints=True),
            Side("positions", (_python("programs.positions", small, threads),), (small,), prints=True),
        ),
        (
            Line("Score-CAM / pytorch-grad-cam", "process.scorecam.ours", "process.scorecam.theirs", 0.8),
            Line("Ablation-CAM / pytorch-grad-cam", "process.ablationcam.ours", "process.ablationcam.theirs", 0.1),
            Line("Recipro-CAM of 28 × 28 positions", "positions.map"),
            Line("its peak memory", "positions.peak", None, 1024.0, "MiB"),
        ),
    )


EXPERIMENTS: dict[str, Callable[[Inputs, Path, int], Experiment]] = {
    "darknet-channels": darknet_channels,
    "resnet-children": resnet_children,
    "weight-histograms": weight_histograms,
    "report": report,
    "small-report": small_report,
    "statistics": statistics,
    "plain": plain,
    "growth": growth,
    "gradients": gradients,
    "perturbations": perturbations,
}
