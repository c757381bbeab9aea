"""Our own descriptions of YOLOv3 (Redmon and Farhadi, 2018, arXiv:1804.02767) and YOLOv3-tiny, as text of a cfg."""

from __future__ import annotations

__all__ = ["yolov3", "yolov3_tiny"]

_ANCHORS = "10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326"
_TINY_ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"
_BLOCKS = (1, 2, 8, 8, 4)


def yolov3(size: int = 416, classes: int = 80) -> str:
    """Darknet-53 without its classifier, and three heads at 1/32, 1/16 and 1/8 of the input's side."""
    sections = [_net(size), _conv(32, 3)]
    for stage, blocks in enumerate(_BLOCKS, 1):
        filters = 32 << stage
        sections.append(_conv(filters, 3, stride=2))
        sections += blocks * [_conv(filters // 2, 1), _conv(filters, 3), "[shortcut]\nfrom=-3\nactivation=linear"]
    for head, filters in enumerate((512, 256, 128)):
        if head:
            # The end of the backbone's stage of this resolution, by Darknet's count of layers.
            skip = (61, 36)[head - 1]
            sections += [_route("-4"), _conv(filters, 1), "[upsample]\nstride=2", _route(f"-1,{skip}")]
        sections += 3 * [_conv(filters, 1), _conv(2 * filters, 3)]
        first = 6 - 3 * head
        sections += _head(range(first, first + 3), _ANCHORS, classes)
    return "\n\n".join(sections) + "\n"


def yolov3_tiny(size: int = 416, classes: int = 80) -> str:
    """A plain network of seven convolutions with pooling between them, and two heads at 1/32 and 1/16 of the side."""
    sections = [_net(size)]
    for level in range(6):
        sections += [_conv(16 << level, 3), f"[maxpool]\nsize=2\nstride={2 if level < 5 else 1}"]
    sections += [_conv(1024, 3), _conv(256, 1), _conv(512, 3), *_head(range(3, 6), _TINY_ANCHORS, classes)]
    sections += [_route("-4"), _conv(128, 1), "[upsample]\nstride=2", _route("-1,8"), _conv(256, 3)]
    sections += _head(range(3), _TINY_ANCHORS, classes)
    return "\n\n".join(sections) + "\n"


def _net(size: int) -> str:
    return f"[net]\nwidth={size}\nheight={size}\nchannels=3"


def _conv(filters: int, size: int, stride: int = 1) -> str:
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation=leaky"
    )


def _route(layers: str) -> str:
    return f"[route]\nlayers={layers}"


def _head(mask: range, anchors: str, classes: int) -> list[str]:
    filters = len(mask) * (5 + classes)
    total = (anchors.count(",") + 1) // 2
    return [
        f"[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation=linear",
        f"[yolo]\nmask={','.join(map(str, mask))}\nanchors={anchors}\nclasses={classes}\nnum={total}",
    ]
