"""How a picture climbs: what it is made of, how it is moved, what keeps it plain, and when it stops."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.measure.maximize.optimizers import optimizer
from onnxvis.measure.maximize.paint import KINDS, Kind
from onnxvis.measure.maximize.warp import Wobble

__all__ = ["BLUR", "START", "Settings"]

START = 0.01
"""The standard deviation of the parameters that a picture starts from, as lucid has it."""

BLUR = 1.0
"""The standard deviation in pixels of the Gaussian that pictures are blurred by."""

_WOBBLE = Wobble()
_MOST_STEPS, _MOST_SEED = 1_000_000, 2**63


@dataclass(frozen=True)
class Settings:
    """`kind`: 'fft' or 'pixels'; `decorrelated`: colours vary as those of natural pictures do, see `paint`.

    `rate` None is the optimiser's usual one. `wobble`: how pictures are moved before each step. `l2` and `tv` weigh the
    penalties of `penalties`, in units of what climbs; `blur` N blurs the picture after every N steps, 0 never. A climb
    ends after `steps`, or once the picture as it is reaches `until`. `seed` repeats it. Raises UsageError.
    """

    kind: Kind = "fft"
    decorrelated: bool = True
    optimizer: str = "adam"
    rate: float | None = None
    steps: int = 512
    until: float | None = None
    seed: int = 0
    wobble: Wobble = _WOBBLE
    l2: float = 0.0
    tv: float = 0.0
    blur: int = 0

    def __post_init__(self) -> None:
        optimizer(self.optimizer)
        if self.kind not in KINDS:
            raise UsageError(f"a picture is made of {' or '.join(KINDS)}, not of '{one_line(self.kind)}'")
        for name, value, least, most in (
            ("steps", self.steps, 1, _MOST_STEPS),
            ("blur", self.blur, 0, _MOST_STEPS),
            ("seed", self.seed, 0, _MOST_SEED),
            ("jitter", self.wobble.jitter, 0, 10_000),
            ("rotate", self.wobble.rotate, 0, 180),
            ("l2", self.l2, 0, math.inf),
            ("tv", self.tv, 0, math.inf),
        ):
            if not least <= value <= most or value == math.inf:
                given = one_line(f"{value:,}", 40) if isinstance(value, int) else f"{value:g}"
                there = f"from {least} to {most:,}" if most < math.inf else f"from {least} up"
                raise UsageError(f"--{name} {given} is out of range; give a number {there}")
        if not 0 <= self.wobble.scale < 1:
            raise UsageError(f"--scale {self.wobble.scale:g} is out of range; give a share from 0 to below 1")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise UsageError(f"--rate {self.rate:g} is out of range; give a number above 0")
        if self.until is not None and not math.isfinite(self.until):
            raise UsageError("--until takes a finite number")
