"""What is installed, which devices ONNX Runtime can use, and what is wrong with that."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add_arguments", "examine", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis doctor [--json]`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings; exit code 1 where something is wrong."""
    found = examine()
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for name, version in found["packages"].items():
            print(f"{name:<24} {version}")
        print(f"{'providers':<24} {', '.join(found['providers'])}")
        print(f"{'auto runs on':<24} {found['auto']}")
        for problem in found["problems"]:
            print(f"PROBLEM  {problem}")
        if not found["problems"]:
            print("no problems found")
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """Versions, providers and problems, each problem with what to do about it."""
    from onnxvis.run import installation
    from onnxvis.version import __version__

    return {
        "schema_version": 1,
        "onnxvis_version": __version__,
        "packages": installation.packages(),
        "providers": installation.providers(),
        "auto": installation.automatic(),
        "problems": installation.problems(),
    }
