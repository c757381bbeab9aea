"""All rules: importing the files that hold them registers them."""

from __future__ import annotations

from onnxvis.rewrite.rules import (
    activation,
    arithmetic,
    conv,
    guided,
    index,
    matrix,
    norm,
    pad,
    pool,
    quantize,
    reduce,
    resize,
    shape,
    softmax,
    unary,
)
from onnxvis.rewrite.rules.guided import gated_units
from onnxvis.rewrite.rules.registry import CONSTANT, RULES, Rule, find_rule, is_constant, is_plain

__all__ = ["CONSTANT", "FILES", "RULES", "Rule", "find_rule", "gated_units", "is_constant", "is_plain"]

FILES = (
    activation,
    arithmetic,
    conv,
    guided,
    index,
    matrix,
    norm,
    pad,
    pool,
    quantize,
    reduce,
    resize,
    shape,
    softmax,
    unary,
)
"""The modules that hold rules, a kind of operator each."""
