"""The command `onnxvis`: finds the command that is meant, runs it, turns errors into one sentence and an exit code.

Only the command that runs is imported, so that help comes at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from importlib import import_module

from onnxvis.errors import OnnxvisError
from onnxvis.files import one_line
from onnxvis.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from typing import NoReturn

__all__ = ["COMMANDS", "entry", "main"]

COMMANDS = {
    "demo": "a report on a small network that comes with onnxvis: the first thing to try",
    "report": "one offline HTML page that shows a model from the inside",
    "layers": "the stages, blocks and tensors of a model, as a table or as JSON",
    "features": "feature maps of any tensors as pictures, or as arrays",
    "weights": "the numbers and histogram of every weight, and the kernels as pictures",
    "heatmap": "where a model looks for its answer: heatmaps of a picture by any of many methods",
    "patches": "the pictures' patches that excite each channel of a tensor most",
    "maximize": "the picture that excites a channel, a position or a class most",
    "expose": "a copy of a model that also returns the tensors you name, for any runtime",
    "gradient": "a copy of a model that also computes gradients, for any runtime",
    "embed": "a copy of a model that also returns a heatmap, for any runtime",
    "make": "an .onnx file from Darknet, torchvision, your own nn.Module, or by training",
    "doctor": "what is installed, which devices can be used, and what is wrong with that",
}

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Wrong options end the process with code 2, as argparse does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A stream that was closed (2>&-) is None; what would go there goes nowhere.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    if not given or given[0] not in COMMANDS:
        return _without_command(given)
    name = given[0]
    try:
        command = import_module(f"onnxvis.cli.{name}")
        what = f"{COMMANDS[name].capitalize()}."
        # Abbreviated options in scripts would change their meaning when an option is added.
        parser = argparse.ArgumentParser(prog=f"onnxvis {name}", description=what, allow_abbrev=False)
        command.add_arguments(parser)
        _print_anything()
        options = parser.parse_args(given[1:])
        with _memory_for_large_models():
            code = int(command.run(options))
        sys.stdout.flush()
        return code
    except OnnxvisError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; closing quietly is what it expects.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("ONNXVIS_TRACEBACK"):
            raise
        _complain(_unexpected(error))
        return OnnxvisError.exit_code


def entry() -> NoReturn:
    """The installed command: `main`, then the end of the process at once.

    Python would first take apart, object by object, what the system frees as a whole: 5 % of the time that it takes to
    draw the feature maps of YOLOv3. Files are closed by then, each by the block that opened it.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read them has gone
            stream.flush()
    os._exit(code)


def _without_command(given: Sequence[str]) -> int:
    width = max(map(len, COMMANDS)) + 2
    listed = "\n".join(f"  {name:<{width}}{summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="onnxvis",
        usage="onnxvis COMMAND ...",
        description=f"See inside any ONNX vision model, with nothing but the .onnx file.\n\ncommands:\n{listed}",
        epilog="More on one: onnxvis COMMAND --help. Start with: onnxvis demo\n"
        "Exit codes: 0 fine, 1 findings, 2 wrong use or a bad file, 130 interrupted.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"onnxvis {__version__}")
    if not given:
        parser.print_help()
        return OnnxvisError.exit_code
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    parser.parse_args(given[:1])
    return OnnxvisError.exit_code


def _memory_for_large_models() -> AbstractContextManager[None]:
    from onnxvis.run.memory import rare_collections, use_one_heap

    use_one_heap()
    return rare_collections()


def _nowhere() -> io.TextIOWrapper:
    return io.TextIOWrapper(open(os.devnull, "wb"), encoding="utf-8")


def _print_anything() -> None:
    """Let stdout take every path and name: bytes that are no text come out as they are, where it can hold them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def _unexpected(error: Exception) -> str:
    """What is said of an error that nobody foresaw; a full disk or a lost drive is not a fault of ours."""
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.strerror}: {error.filename!r}" if error.filename else f"{error.strerror}, while writing or reading"
        )
    text = one_line(" ".join(str(error).split()), 300)
    return f"{type(error).__name__}: {text}. This is a fault of onnxvis; ONNXVIS_TRACEBACK=1 shows where"


def _complain(text: str) -> None:
    print(f"onnxvis: {text}", file=sys.stderr)
