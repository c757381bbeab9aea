"""Standard output kept clean: it holds nothing but the paths of the files that are made."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["stdout_kept"]


@contextlib.contextmanager
def stdout_kept() -> Iterator[None]:
    """While it lasts, what Python prints goes to stderr, and what C++ prints to descriptor 1 nowhere.

    So does PyTorch's exporter with the graph that it gives up, and its error says enough.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # stdout is closed: nothing can be written there
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere, contextlib.redirect_stdout(sys.stderr):
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
