"""What a YOLOv3-type network is trained to lower: where boxes are, whether there is one, and of which class it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

__all__ = ["Losses", "decode", "generalized_iou", "yolo_loss"]

_SAME_SHAPE = 0.6
_GOOD_ENOUGH = 0.6
_WEIGHTS = (2.0, 1.0, 1.0)


@dataclass(frozen=True)
class Losses:
    """`total`: what is lowered; `box`, `objectness`, `label`: its parts, already weighted."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    label: Tensor


def decode(head: Tensor, anchors: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """A raw head (N, A · (5 + C), H, W) as corners (N, A, H, W, 4) in pixels and raw values (N, A, H, W, 5 + C).

    Centres are (sigmoid(x) + column) · stride, sides exp(w) · anchor (Redmon and Farhadi, 2018, arXiv:1804.02767).
    """
    batch, _, height, width = head.shape
    raw = head.view(batch, len(anchors), -1, height, width).permute(0, 1, 3, 4, 2)
    columns = torch.arange(width, device=head.device).view(1, 1, 1, width)
    rows = torch.arange(height, device=head.device).view(1, 1, height, 1)
    centres = torch.stack([raw[..., 0].sigmoid() + columns, raw[..., 1].sigmoid() + rows], -1) * stride
    # exp(4) is a box 55 times its anchor; above it only a step gone wrong would go.
    halves = raw[..., 2:4].clamp(max=4).exp() * anchors.view(1, -1, 1, 1, 2) / 2
    return torch.cat([centres - halves, centres + halves], -1), raw


def yolo_loss(heads: Sequence[Tensor], anchors: Tensor, strides: Sequence[int], truth: Tensor) -> Losses:
    """Losses over a batch. `anchors` (heads, A, 2) in pixels; `truth` (M, 6): picture, x0, y0, x1, y1, class.

    A true box belongs to the cell of its centre, at its best anchor (by the IoU of the shapes) and at all above 0.6.
    There 1 − GIoU (Rezatofighi et al., 2019, arXiv:1902.09630) and cross entropies are lowered; elsewhere objectness,
    but where a prediction meets a true box with an IoU above 0.6 anyway.
    """
    chosen = _assign(anchors, truth)
    box, label, objectness = heads[0].new_zeros(()), heads[0].new_zeros(()), heads[0].new_zeros(())
    for level, (head, stride) in enumerate(zip(heads, strides, strict=True)):
        corners, raw = decode(head, anchors[level], stride)
        wanted = torch.zeros_like(raw[..., 4])
        weight = 1 - _met(corners, truth)
        member, anchor = chosen[:, level].nonzero(as_tuple=True)
        if len(member):
            place = _places(truth[member], anchor, stride, raw.shape[2:4])
            box = box + (1 - generalized_iou(corners[place], truth[member, 1:5])).sum()
            classes = torch.nn.functional.one_hot(truth[member, 5].long(), raw.shape[-1] - 5).to(raw)
            label = label + cross_entropy(raw[place][:, 5:], classes, reduction="sum")
            wanted[place], weight[place] = 1.0, 1.0
        objectness = objectness + cross_entropy(raw[..., 4], wanted, weight, reduction="sum")
    count = max(1, int(chosen.sum()))
    parts = [part * factor / count for part, factor in zip((box, objectness, label), _WEIGHTS, strict=True)]
    return Losses(parts[0] + parts[1] + parts[2], *parts)


def generalized_iou(one: Tensor, other: Tensor) -> Tensor:
    """GIoU of boxes (M, 4), pair by pair, in (−1, 1]: IoU − the share of the box around both that neither fills."""
    shared = (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])).clamp(min=0).prod(1)
    union = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - shared
    around = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(1)
    return shared / union - (around - union) / around


def _assign(anchors: Tensor, truth: Tensor) -> Tensor:
    """Which anchors each true box belongs to: (M, heads, A) bool."""
    sides = (truth[:, 3:5] - truth[:, 1:3])[:, None]
    flat = anchors.view(1, -1, 2)
    shared = torch.minimum(sides, flat).prod(-1)
    iou = shared / (sides.prod(-1) + flat.prod(-1) - shared)
    chosen = iou > _SAME_SHAPE
    chosen[torch.arange(len(iou)), iou.argmax(1)] = True
    return chosen.view(-1, *anchors.shape[:2])


def _places(truth: Tensor, anchor: Tensor, stride: int, grid: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Picture, anchor, row and column of each true box."""
    centres = (truth[:, 1:3] + truth[:, 3:5]) / 2 / stride
    columns, rows = centres.long().unbind(1)
    return truth[:, 0].long(), anchor, rows.clamp(0, grid[0] - 1), columns.clamp(0, grid[1] - 1)


def _met(corners: Tensor, truth: Tensor) -> Tensor:
    """1 where a prediction (N, A, H, W, 4) meets a true box of its picture with an IoU above 0.6, else 0."""
    found = torch.zeros(corners.shape[:-1], device=corners.device)
    with torch.no_grad():
        for picture in range(len(corners)):
            own = truth[truth[:, 0] == picture, 1:5]
            if len(own):
                ours = corners[picture].reshape(-1, 1, 4)
                sides = torch.minimum(ours[..., 2:], own[:, 2:]) - torch.maximum(ours[..., :2], own[:, :2])
                shared = sides.clamp(min=0).prod(-1)
                union = (ours[..., 2:] - ours[..., :2]).prod(-1) + (own[:, 2:] - own[:, :2]).prod(-1) - shared
                found[picture] = ((shared / union).amax(1) > _GOOD_ENOUGH).view(found.shape[1:]).to(found)
    return found
