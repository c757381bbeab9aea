"""Elementary functions of one variable."""

from __future__ import annotations

import numpy as np

from tests.rewrite.differences import Case, apart, single

__all__ = ["CASES"]

_SHAPE = (2, 3, 2)
_OF_ALL = ("Neg", "Abs", "Exp", "Erf", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh")
_ABOVE_ZERO = ("Log", "Sqrt", "Reciprocal")
_WITHIN_ONE = ("Asin", "Acos", "Atanh")


def _case(op: str, name: str, gap: float, opset: int = 20, least: float | None = None, step: float = 1e-5) -> Case:
    """Values around 0, or with `least` all above it."""
    x = apart(_SHAPE, gap)
    if least is not None:
        x = np.abs(x) + np.float32(least)
    model = single(op, ("batch", 3, "width"), opset=opset)
    return Case(op, name, model, {"x": x}, linear=op in ("Neg", "Abs"), step=step)


CASES = [
    *(_case(op, "values around 0", 0.2, step=0.02 if op == "Erf" else 1e-5) for op in _OF_ALL),
    *(_case(op, "values above 0", 0.2, least=0.1) for op in _ABOVE_ZERO),
    *(_case(op, "values between -1 and 1", 0.17) for op in _WITHIN_ONE),
    _case("Acosh", "values above 1", 0.2, least=1.1),
    _case("Reciprocal", "values below 0 too", 0.4),
    *(_case(op, "operator set 9", 0.17, 9) for op in ("Exp", "Sin", "Asin", "Sinh", "Atanh")),
    *(_case(op, "operator set 26", 0.17, 26) for op in ("Exp", "Sin", "Asin", "Sinh", "Atanh")),
]
