"""The families of networks that people have as cfg files, each in its own shape but narrow: sections, a line each."""

from __future__ import annotations

__all__ = ["FAMILIES"]

_ANCHORS = "anchors=12,16,19,36,40,28,36,75,76,55,72,146,142,110,192,243,459,401 num=9 classes=3"
_TINY = "anchors=10,14,23,27,37,58,81,82,135,169,344,319 num=6 classes=3"


def conv(filters: int, size: int = 1, stride: int = 1, activation: str = "leaky", extra: str = "") -> str:
    return (
        f"convolutional batch_normalize=1 filters={filters} size={size} stride={stride} pad=1 "
        f"activation={activation} {extra}"
    )


def yolo(mask: str, anchors: str, extra: str = "") -> list[str]:
    boxes = mask.count(",") + 1
    head = f"convolutional filters={boxes * 8} size=1 stride=1 pad=1 activation=linear"
    return [head, f"yolo mask={mask} {anchors} {extra}"]


def csp(filters: int, blocks: int, inner: int) -> list[str]:
    """A stage of CSPDarknet-53: both halves see the whole map, the residual blocks one of them."""
    found = [conv(filters, 3, 2, "mish"), conv(inner, activation="mish"), "route layers=-2"]
    found.append(conv(inner, activation="mish"))
    for _ in range(blocks):
        middle = max(1, inner // (2 if blocks == 1 else 1))
        found += [conv(middle, activation="mish"), conv(inner, 3, activation="mish"), "shortcut from=-3"]
    found.append(conv(inner, activation="mish"))
    return [*found, f"route layers=-1,-{3 * blocks + 4}", conv(filters, activation="mish")]


def yolov4() -> list[str]:
    found = [conv(2, 3, activation="mish")]
    ends = []
    for stage, blocks in enumerate((1, 2, 8, 8, 4)):
        found += csp(4 << stage, blocks, 4 if stage == 0 else 2 << stage)
        ends.append(len(found) - 1)
    found += [conv(32), conv(64, 3), conv(32)]
    found += ["maxpool size=5 stride=1", "route layers=-2", "maxpool size=9 stride=1", "route layers=-4"]
    found += ["maxpool size=13 stride=1", "route layers=-1,-3,-5,-6", conv(32), conv(64, 3), conv(32)]
    laterals = [len(found) - 1]
    for filters, end in ((16, ends[3]), (8, ends[2])):
        found += [conv(filters), "upsample stride=2", f"route layers={end}", conv(filters), "route layers=-1,-3"]
        found += [conv(filters), conv(2 * filters, 3), conv(filters), conv(2 * filters, 3), conv(filters)]
        laterals.append(len(found) - 1)
    found += [conv(16, 3), *yolo("0,1,2", _ANCHORS, "scale_x_y=1.2")]
    for filters, lateral, mask in ((16, laterals[1], "3,4,5"), (32, laterals[0], "6,7,8")):
        found += ["route layers=-4", conv(filters, 3, 2), f"route layers=-1,{lateral}"]
        found += [conv(filters), conv(2 * filters, 3), conv(filters), conv(2 * filters, 3), conv(filters)]
        found += [conv(2 * filters, 3), *yolo(mask, _ANCHORS, "scale_x_y=1.1")]
    return found


def yolov4_tiny() -> list[str]:
    found = [conv(4, 3, 2), conv(8, 3, 2)]
    for filters in (8, 16, 32):
        found += [conv(filters, 3), "route layers=-1 groups=2 group_id=1", conv(filters // 2, 3)]
        found += [conv(filters // 2, 3), "route layers=-1,-2", conv(filters), "route layers=-6,-1"]
        found.append("maxpool size=2 stride=2")
    found += [conv(64, 3), conv(32), conv(64, 3), *yolo("3,4,5", _TINY, "scale_x_y=1.05")]
    found += ["route layers=-4", conv(16), "upsample stride=2", "route layers=-1,23", conv(32, 3)]
    return found + yolo("1,2,3", _TINY, "scale_x_y=1.05")


def yolo_fastest() -> list[str]:
    """Inverted residuals with depthwise convolutions, and dropout before each shortcut."""
    found = [conv(8, 3, 2, "relu")]
    ends = []
    for filters, blocks in ((4, 1), (8, 2), (12, 3), (16, 2)):
        for block in range(blocks):
            wide = 24
            found += [conv(wide, activation="relu")]
            found += [conv(wide, 3, 1 if block else 2, "relu", f"groups={wide}")]
            found += [conv(filters, activation="linear")]
            if block:
                found += ["dropout probability=.15", "shortcut from=-5 activation=linear"]
        ends.append(len(found) - 1)
    found += [conv(24, activation="relu"), conv(24, 5, 1, "relu", "groups=24"), conv(16, activation="relu")]
    found += [*yolo("3,4,5", _TINY), "route layers=-3", "upsample stride=2", f"route layers=-1,{ends[2]}"]
    found += [conv(20, activation="relu"), conv(20, 5, 1, "relu", "groups=20"), conv(12, activation="linear")]
    return found + yolo("0,1,2", _TINY)


def resnet50() -> list[str]:
    """Projections have no convolution: the first channels of every second pixel are added, as in Darknet's own."""
    found = [conv(8, 7, 2), "maxpool size=2 stride=2"]
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            width = 8 << stage
            found += [
                conv(width),
                conv(width, 3, 2 if stage and not block else 1),
                conv(4 * width, activation="linear"),
            ]
            found.append("shortcut from=-4 activation=leaky")
    return [*found, "avgpool", "convolutional filters=10 size=1 stride=1 pad=1 activation=linear", "softmax groups=1"]


def darknet53() -> list[str]:
    found = [conv(4, 3)]
    for stage, blocks in enumerate((1, 2, 8, 8, 4)):
        found.append(conv(8 << stage, 3, 2))
        found += blocks * [conv(4 << stage), conv(8 << stage, 3), "shortcut from=-3 activation=linear"]
    return [*found, "avgpool", "convolutional filters=10 size=1 stride=1 pad=1 activation=linear", "softmax groups=1"]


def darknet19() -> list[str]:
    found = [conv(4, 3), "maxpool size=2 stride=2", conv(8, 3), "maxpool size=2 stride=2"]
    for filters, count in ((16, 3), (32, 3), (64, 5), (128, 5)):
        found += [conv(filters >> index % 2, 3 - 2 * (index % 2)) for index in range(count)]
        found.append("maxpool size=2 stride=2")
    found.pop()
    return [*found, "convolutional filters=10 size=1 activation=linear", "avgpool", "softmax groups=1", "cost type=sse"]


FAMILIES = {
    "yolov4": yolov4(),
    "yolov4-tiny": yolov4_tiny(),
    "yolo-fastest": yolo_fastest(),
    "resnet50": resnet50(),
    "darknet53": darknet53(),
    "darknet19": darknet19(),
}
"""Each takes a picture of any multiple of 32."""
