"""The benchmarks' own arithmetic, table and processes; nothing here says how fast anything is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.__main__ import main
from benchmarks.experiment import Experiment, Line, Side, measure
from benchmarks.experiments import EXPERIMENTS, RESNET_CHILDREN, YOLOV3_STAGES
from benchmarks.inputs import Inputs
from benchmarks.machine import describe_machine, processor
from benchmarks.processes import THREAD_VARIABLES, ProcessFailed, environment, run
from benchmarks.results import page
from benchmarks.table import HEADER, cells, failed_row, markdown, row
from tests.zoo import build

ROOT = Path(__file__).parent.parent
LINE = Line("ours / theirs", "a.seconds", "b.seconds", 0.5)
SAMPLES = {
    "a.seconds": [1.0, 9.0, 2.0],
    "b.seconds": [4.0, 9.0, 5.0],
    "a.cpu": [1.0, 3.0, 2.0],
    "b.cpu": [8.0, 8.0, 9.0],
    "a.peak": [2.0**20, 2.0**21, 2.0**22],
    "b.peak": [3 * 2.0**20] * 3,
    "a.bytes": [5e6, 7.5e6, 6e6],
}


def quiet(_: str) -> None:
    """Nothing is told."""


def test_a_row_has_the_medians_their_ratio_and_its_range() -> None:
    found = row(LINE, 2, SAMPLES)
    assert (found.ours, found.theirs, found.ratio) == (2.0, 5.0, 0.4)  # the ratio of medians, not a median of ratios
    assert found.spread == (0.25, 1.0)
    assert found.cpu == 0.25
    assert found.peaks == (2.0, 3.0)
    assert found.met is True


@pytest.mark.parametrize(("limit", "met"), [(0.4, True), (0.399, False), (None, None)])
def test_a_limit_is_met_up_to_itself(limit: float | None, met: bool | None) -> None:
    assert row(Line("x", "a.seconds", "b.seconds", limit), 1, SAMPLES).met is met


def test_without_the_other_side_the_limit_is_for_ours() -> None:
    found = row(Line("size", "a.bytes", None, 6.0, "MB"), 1, SAMPLES)
    assert (found.ours, found.theirs, found.ratio, found.spread, found.met) == (6.0, None, None, None, True)
    assert found.cpu is None
    assert found.peaks == (None, None)
    assert cells(found) == ("size", "1", "6.00 MB", "", "", "", "6 MB", "met", "", "", "")
    assert row(Line("size", "a.bytes", None, 5.9, "MB"), 1, SAMPLES).met is False


def test_cells_show_a_missed_limit_and_a_failure() -> None:
    missed = cells(row(Line("x", "a.seconds", "b.seconds", 0.3), 1, SAMPLES))
    assert missed == (
        "x",
        "1",
        "2.00 s",
        "5.00 s",
        "0.400",
        "0.250–1.000",
        "0.3",
        "**missed**",
        "0.250",
        "2 MiB",
        "3 MiB",
    )
    failed = failed_row(LINE, 1)
    assert failed.met is False
    assert cells(failed) == ("ours / theirs", "1", "", "", "", "", "0.5", "**failed**", "", "", "")
    assert failed_row(Line("x", "a.seconds"), 1).met is None


def test_the_table_lines_up_and_is_markdown() -> None:
    rows = [row(LINE, 1, SAMPLES), failed_row(Line("a | b", "a.seconds"), 2)]
    lines = markdown(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[0].strip("|").split(" | ")] == list(HEADER)
    assert set(lines[1]) == set("|-: ")
    assert "a \\| b" in lines[3]


def test_the_page_tells_the_machine_the_rounds_and_every_note() -> None:
    text = page([row(LINE, 1, SAMPLES)], {"first": "does this.", "second": "does that."}, "a machine", 5)
    assert "Machine: a machine" in text
    assert "medians of 5 rounds" in text
    assert "- **first**: does this.\n- **second**: does that." in text


def test_the_machine_is_told_without_its_name(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nprocessor\t: 1\nmodel name\t: other\n")
    assert processor(file) == "Some CPU @ 3 GHz"
    assert processor(tmp_path / "absent")
    told = describe_machine()
    assert f"{os.cpu_count()} cores" in told
    assert f"numpy {np.__version__}" in told
    assert os.uname().nodename not in told.split(", ")
    assert str(ROOT) not in told


def test_a_process_is_measured_whole() -> None:
    """By a small process, as the benchmarks' own is: a peak never reads below that of the process that asks."""
    inner = "import time; x = bytearray(200 << 20); time.sleep(0.2); print('done')"
    code = (
        "import sys; from benchmarks.processes import run\n"
        f"done = run((sys.executable, '-c', {inner!r}), {{}})\n"
        "print(done.stdout.strip(), done.seconds, done.peak, done.cpu)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    word, seconds, peak, cpu = said.split()
    assert word == "done"
    assert float(seconds) >= 0.2
    assert 200 << 20 < int(peak) < 300 << 20
    assert 0 < float(cpu) < 10


def test_a_failing_process_says_why() -> None:
    with pytest.raises(ProcessFailed, match=r"^ValueError: no such luck$"):
        run((sys.executable, "-c", "raise ValueError('no such luck')"), {})
    with pytest.raises(ProcessFailed, match=r"^exit code 3$"):
        run((sys.executable, "-c", "raise SystemExit(3)"), {})


def test_threads_are_set_for_every_library() -> None:
    variables = environment(3)
    assert {variables[name] for name in THREAD_VARIABLES} == {"3"}
    assert variables["PATH"] == os.environ["PATH"]


def test_sides_run_in_turn_from_nothing_and_the_first_round_does_not_count(tmp_path: Path) -> None:
    log, page_file = tmp_path / "log", tmp_path / "page"
    code = "import pathlib, sys; open(sys.argv[1], 'a').write(sys.argv[2]); p = pathlib.Path(sys.argv[3])"
    fresh = f"{code}; assert not p.exists(); p.write_text('abc'); print('{{\"figure\": 7}}')"
    command = (sys.executable, "-c", fresh, str(log), "a", str(page_file))
    first = Side("a", (command,), (page_file,), page=page_file, holds=("b", "z"), prints=True)
    second = Side("b", tuple((sys.executable, "-c", code, str(log), word, str(page_file)) for word in "bc"))
    samples = measure(Experiment("x", "", (first, second), ()), 1, 2, quiet)
    assert log.read_text() == "abc" * 3
    assert samples["a.bytes"] == [3.0, 3.0]
    assert samples["a.lacking"] == [1.0, 1.0]
    assert samples["a.figure"] == [7.0, 7.0]
    assert {len(values) for values in samples.values()} == {2}


@pytest.mark.parametrize(("files", "word"), [(2, "wrote 1 files of 2"), (1, "")])
def test_a_side_that_does_not_do_its_work_is_no_measurement(files: int, word: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    code = f"import pathlib; p = pathlib.Path({str(folder)!r}); p.mkdir(); (p / 'x').touch()"
    experiment = Experiment("x", "", (Side("a", ((sys.executable, "-c", code),), (folder,), files),), ())
    if word:
        with pytest.raises(ProcessFailed, match=word):
            measure(experiment, 1, 1, quiet)
    else:
        assert measure(experiment, 1, 1, quiet).keys() == {"a.seconds", "a.cpu", "a.peak"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_well_formed(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name](Inputs(tmp_path / "inputs"), tmp_path / "scratch", 2)
    assert experiment.name == name
    assert experiment.note.endswith(".")
    sides = {side.name: side for side in experiment.sides}
    assert len(sides) == len(experiment.sides)
    for figure in (figure for line in experiment.lines for figure in (line.ours, line.theirs) if figure):
        side, _, key = figure.partition(".")
        known = {"seconds", "cpu", "peak"} | ({"bytes", "lacking"} if sides[side].page else set())
        assert key in known or sides[side].prints
    written = [path for side in experiment.sides for path in side.writes]
    assert all(path.is_relative_to(tmp_path / "scratch") for path in written)
    for command in (command for side in experiment.sides for command in side.commands):
        assert all(isinstance(word, str) for word in command)
        if command[1] == "-m":
            assert importlib.util.find_spec(command[2]) is not None
        else:
            assert Path(command[0]).name.startswith("onnxvis")
            assert command[command.index("--threads") + 1] == "2"


@pytest.mark.parametrize(
    ("network", "tensors", "channels"), [("yolov3", YOLOV3_STAGES, 1984), ("resnet101", RESNET_CHILDREN, 6144)]
)
def test_the_tensors_are_there_and_have_the_channels_that_are_told(
    network: str, tensors: tuple[str, ...], channels: int
) -> None:
    model = onnx.shape_inference.infer_shapes(build(network))
    shapes = {info.name: info.type.tensor_type.shape.dim for info in model.graph.value_info}
    assert sum(shapes[name][1].dim_value for name in tensors) == channels


def test_resnet101_has_522_parameters_with_batch_norm() -> None:
    model = build("resnet101")
    assert len(model.graph.initializer) == 522
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 104  # 626 - 522


def test_the_picture_falls_off_as_photos_do() -> None:
    from benchmarks.pictures import natural_picture

    picture = natural_picture(256, 256)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, natural_picture(256, 256))
    gray = picture.mean(axis=2)
    power = np.abs(np.fft.fft2(gray - gray.mean())) ** 2
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None]) * 256
    bands = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (4, 8, 16, 32)]
    slopes = np.log2(np.asarray(bands[1:]) / np.asarray(bands[:-1]))
    assert np.all(slopes < -1)  # power falls as about 1/f²; white noise would stay flat


def test_turning_residual_branches_down_touches_nothing_else() -> None:
    pytest.importorskip("torch")
    from benchmarks.make_inputs import tamed
    from tests.zoo import materialize

    model = materialize(build("resnet18"))
    model.graph.initializer[0].name = "layer1.0.bn3.weight"
    before = [numpy_helper.to_array(item) for item in model.graph.initializer]
    after = [numpy_helper.to_array(item) for item in tamed(model).graph.initializer]
    np.testing.assert_allclose(after[0], before[0] / 5, rtol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(after[1:], before[1:], strict=True))


def test_chains_double_one_thing_at_a_time() -> None:
    from benchmarks.programs.growth import CHAINS, chain

    for what, shapes in CHAINS.items():
        models = [chain(shape) for shape in shapes]
        sizes = {
            "pixels": [
                int(np.prod([d.dim_value for d in m.graph.input[0].type.tensor_type.shape.dim])) for m in models
            ],
            "layers": [len(m.graph.node) for m in models],
            "parameters": [int(np.prod(m.graph.initializer[0].dims)) for m in models],
        }
        assert sizes[what][1:] == [2 * size for size in sizes[what][:-1]]
        assert all(len(set(found)) == 1 for other, found in sizes.items() if other != what)
        for model in models:
            onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True), full_check=True)


def test_numpy_is_asked_for_what_we_compute() -> None:
    from benchmarks.programs.statistics import by_numpy
    from onnxvis.measure.statistics import summarise

    values = np.random.default_rng(0).standard_normal(1000, np.float32)
    counts, _, mean, std, low, high = by_numpy(values)
    ours = summarise(values)
    np.testing.assert_allclose((mean, std, low, high), (ours.mean, ours.std, ours.min, ours.max), rtol=1e-4, atol=1e-6)
    assert counts.sum() == ours.counts.sum() == 1000


def test_the_command_prints_and_writes_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the inputs and for the experiments: all but the long work is the real thing."""
    monkeypatch.setattr(Inputs, "complete", lambda _: True)
    side = Side("a", ((sys.executable, "-c", "pass"),))

    def quick(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
        return Experiment("plain", "does nothing.", (side,), (Line("nothing", "a.seconds", "a.seconds", 0.5),))

    def broken(inputs: Inputs, scratch: Path, threads: int) -> Experiment:
        sides = (Side("a", ((sys.executable, "-c", "raise ValueError('/secret/path')"),)),)
        return Experiment("report", "fails.", sides, (Line("broken", "a.seconds"),))

    monkeypatch.setitem(EXPERIMENTS, "plain", quick)
    monkeypatch.setitem(EXPERIMENTS, "report", broken)
    output = tmp_path / "results.md"
    arguments = ["--only", "plain", "report", "--rounds", "1", "--work", str(tmp_path), "--output", str(output)]
    assert main(arguments) == 0
    text = output.read_text()
    assert text.count("| nothing ") == text.count("**missed**") == 2
    assert text.count("| broken ") == text.count("**failed**") == 2
    assert str(tmp_path) not in text
    assert "/secret" not in text
    assert main([*arguments, "--check"]) == 1


def test_help_needs_neither_pytorch_nor_numpy() -> None:
    code = (
        "import sys, contextlib, io\nfrom benchmarks.__main__ import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'cv2', 'torch', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
