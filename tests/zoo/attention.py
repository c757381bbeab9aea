"""A vision transformer (Dosovitskiy et al., 2020): one convolution, then no feature maps in any layout."""

from __future__ import annotations

import numpy as np

from tests.zoo.builder import Builder
from tests.zoo.core import Value

__all__ = ["vit_tiny"]

CLASSES = 1000
WIDTH = 192
HEADS = 3
DEPTH = 12


def vit_tiny(b: Builder) -> None:
    """ViT-Ti/16, with timm's module names and attention spelled out."""
    with b.scope("patch_embed"):
        x = b.conv(b.image(224), "proj", WIDTH, 16, stride=16, pad=0)
        tokens = x.shape[1] * x.shape[2]
        name = b.transpose(b.reshape(b.as_nchw(x), (WIDTH, tokens)), (0, 2, 1))
    (name,) = b.node("Concat", [_class_token(b, name), name], axis=1)
    tokens += 1
    (name,) = b.node("Add", [name, b.weight("pos_embed", (1, tokens, WIDTH))])
    for block in range(DEPTH):
        with b.scope(f"blocks.{block}"):
            name = _block(b, name, tokens)
    name = _norm(b, name, "norm")
    (name,) = b.node("Gather", [name, b.constant(0, np.int64)], axis=1)
    b.output(b.linear(Value(name, (WIDTH,)), "head", CLASSES))


def _class_token(b: Builder, patches: str) -> str:
    """The learned token, repeated over the batch."""
    token = b.weight("cls_token", (1, 1, WIDTH))
    if isinstance(b.batch, int):
        return b.node("Expand", [token, b.constant([b.batch, 1, WIDTH], np.int64)])[0]
    (shape,) = b.node("Shape", [patches], start=0, end=1)
    (shape,) = b.node("Concat", [shape, b.constant([1, WIDTH], np.int64)], axis=0)
    return b.node("Expand", [token, shape])[0]


def _block(b: Builder, name: str, tokens: int) -> str:
    """x + attention(norm(x)), then x + MLP(norm(x))."""
    y = _norm(b, name, "norm1")
    with b.scope("attn"):
        y = _attention(b, y, tokens)
    (name,) = b.node("Add", [name, y])
    y = _norm(b, name, "norm2")
    with b.scope("mlp"):
        y = _dense(b, y, "fc1", WIDTH, 4 * WIDTH)
        y = b.act(Value(y, (tokens, 4 * WIDTH)), "gelu", "act").name
        y = _dense(b, y, "fc2", 4 * WIDTH, WIDTH)
    return b.node("Add", [name, y])[0]


def _attention(b: Builder, name: str, tokens: int) -> str:
    size = WIDTH // HEADS
    parts = b.reshape(_dense(b, name, "qkv", WIDTH, 3 * WIDTH), (tokens, 3, HEADS, size))
    parts = b.transpose(parts, (2, 0, 3, 1, 4))
    query, key, value = (b.node("Gather", [parts, b.constant(i, np.int64)], axis=0)[0] for i in range(3))
    (query,) = b.node("Mul", [query, b.constant(size**-0.5, np.float32)])
    (scores,) = b.node("MatMul", [query, b.transpose(key, (0, 1, 3, 2))])
    weights = b.act(Value(scores, (HEADS, tokens, tokens)), "softmax").name
    (mixed,) = b.node("MatMul", [weights, value])
    return _dense(b, b.reshape(b.transpose(mixed, (0, 2, 1, 3)), (tokens, WIDTH)), "proj", WIDTH, WIDTH)


def _dense(b: Builder, name: str, module: str, inputs: int, outputs: int) -> str:
    with b.scope(module):
        weight = b.weight(b.anonymous("MatMul"), (inputs, outputs), scoped=False)
        (name,) = b.node("MatMul", [name, weight])
        return b.node("Add", [b.weight("bias", (outputs,)), name])[0]


def _norm(b: Builder, name: str, module: str) -> str:
    with b.scope(module):
        weights = [b.weight("weight", (WIDTH,), 1.0), b.weight("bias", (WIDTH,))]
        return b.node("LayerNormalization", [name, *weights], axis=-1, epsilon=1e-6)[0]
