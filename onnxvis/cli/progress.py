"""Progress on stderr: one line that is written over on a terminal, one line a step elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from types import TracebackType

__all__ = ["Progress"]


class Progress:
    """Call it with what is being done, how much is done, and how much there is; use it in a `with` block."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._overwrites = sys.stderr.isatty()
        self._last = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last and self._overwrites:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __call__(self, what: str, done: int = 0, of: int = 0) -> None:
        """Tell the reader. Elsewhere than on a terminal, steps are told once, not every piece of them."""
        if self._quiet:
            return
        if self._overwrites:
            counted = f" {done}/{of}" if of else ""
            print(f"\r\x1b[K{what}{counted}", end="", file=sys.stderr, flush=True)
        elif what != self._last:
            print(f"onnxvis: {what}", file=sys.stderr, flush=True)
        self._last = what

    def tell(self, text: str, always: bool = False) -> None:
        """A line that stays; `always`: also when quiet, for what went wrong."""
        if self._quiet and not always:
            return
        start = "\r\x1b[K" if self._last and self._overwrites else ""
        print(f"{start}onnxvis: {text}", file=sys.stderr, flush=True)
        self._last = ""

    def result(self, text: object) -> None:
        """A line on stdout, for what was made."""
        if self._last and self._overwrites:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._last = ""
        print(text, flush=True)
