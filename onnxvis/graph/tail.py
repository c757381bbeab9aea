"""What comes after the backbone: the neck, which fuses maps of several resolutions, and a head for each output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onnxvis.graph.flow import Flow
from onnxvis.graph.levels import Level
from onnxvis.graph.ops import RESIZERS

__all__ = ["Piece", "Tail", "split_tail"]

_UPSAMPLERS = RESIZERS | {"ConvTranspose"}


class Piece(NamedTuple):
    """A stretch of the graph: the tensor it hands on, and all its tensors in the order they are made."""

    output: str
    tensors: tuple[str, ...]


class Tail(NamedTuple):
    """The pieces of the neck in order, and the heads, one an output."""

    neck: tuple[Piece, ...]
    heads: tuple[Piece, ...]


def split_tail(flow: Flow, levels: Mapping[str, Level], taken: set[str]) -> Tail:
    """Everything that is not `taken`: what several outputs or a later fusion need is the neck, the rest heads.

    A fusion is a join or an upsampling that is followed by a convolution of its own maps. The convolutions after the
    last one belong to the neck as far as they do after the others: a U-Net ends each step with two, YOLOv3 with five.
    A piece of the neck ends where a fusion's convolutions end, and where a head begins.
    """
    return _Splitter(flow, levels, taken).split()


class _Splitter:
    def __init__(self, flow: Flow, levels: Mapping[str, Level], taken: set[str]) -> None:
        self.flow = flow
        self.levels = levels
        self.taken = taken
        self.rest = [name for name in flow.order if name not in taken]
        self.outputs = [tensor.name for tensor in flow.view.outputs if tensor.name in flow.position]

    def split(self) -> Tail:
        reaching: dict[str, int] = {}
        exclusive: dict[str, str] = {}
        for end in self.outputs:
            for name in self.flow.ancestors([end], self.taken):
                reaching[name] = reaching.get(name, 0) + 1
                exclusive[name] = end
        fusions = self._fusions()
        runs = self._runs(fusions)
        needed = self.flow.ancestors([*fusions, *self._extension(runs, fusions)], self.taken)
        neck = {name for name in self.rest if name in needed or reaching.get(name, 0) > 1}
        heads: dict[str, list[str]] = {}
        for name in self.rest:
            if reaching.get(name) == 1 and name not in neck:
                heads.setdefault(exclusive[name], []).append(name)
        return Tail(self._pieces(neck, runs), tuple(Piece(end, tuple(names)) for end, names in heads.items()))

    def _fusions(self) -> list[str]:
        """Joins and upsampled maps with a convolution further on, in order."""
        found = []
        convolved: set[str] = set()
        for name in reversed([name for name in self.rest if name in self.levels]):
            node = self.flow.core(name)
            if any(item in convolved for item in self.flow.after(name)):
                convolved.add(name)
                fusing = self.flow.is_join(name) or (node is not None and node.op in _UPSAMPLERS)
                if fusing and self.flow.basis[name] not in self.taken:
                    found.append(name)
            if self.flow.is_convolution(name) and self.flow.basis[name] == name:
                convolved.add(name)
        return found[::-1]

    def _runs(self, fusions: list[str]) -> list[list[str]]:
        """For each fusion that is the last at its resolution, what all data passes after it at that resolution."""
        following = self.flow.following(self.outputs)
        known = set(fusions)
        runs = (self._run(name, known, following) for name in fusions if self.flow.basis[name] == name)
        return [run for run in runs if run]

    def _run(self, fusion: str, fusions: set[str], following: Mapping[str, str]) -> list[str]:
        """Empty where another fusion follows at the same resolution, and where no output does."""
        run = []
        name = fusion if fusion in following else ""
        while name and self.levels.get(name, self.levels[fusion]) == self.levels[fusion]:
            if name in fusions and self.flow.basis[name] != fusion:
                return []
            run.append(name)
            name = following[name]
        return run

    def _extension(self, runs: list[list[str]], fusions: list[str]) -> list[str]:
        """What follows the last fusion and still belongs to the neck: as many convolutions as follow any other, so
        long as a head keeps one.
        """
        if len(runs) < 2:
            return []
        allowed = min(len(self._convolutions(run)) for run in runs[:-1])
        for count in range(allowed, 0, -1):
            bases = {runs[-1][0], *self._convolutions(runs[-1])[:count]}
            extension = [name for name in runs[-1] if self.flow.basis[name] in bases]
            needed = self.flow.ancestors([*fusions, *extension], self.taken)
            if self._convolutions([name for name in self.rest if name not in needed]):
                return extension
        return []

    def _convolutions(self, names: list[str]) -> list[str]:
        return [name for name in names if self.flow.basis[name] == name and self.flow.is_convolution(name)]

    def _pieces(self, neck: set[str], runs: list[list[str]]) -> tuple[Piece, ...]:
        ends = {next((name for name in reversed(run) if name in neck and name in self.levels), "") for run in runs}
        ends |= {name for name in neck if any(item not in neck for item in self.flow.after(name))}
        ordered = [name for name in self.rest if name in neck]
        left = set(ordered)
        dealt = set(self.taken)
        pieces: list[Piece] = []
        for end in [*(name for name in ordered if name in ends and name in self.levels), *ordered[-1:]]:
            if end in left:
                inside = self.flow.ancestors([end], dealt) & left
                pieces.append(Piece(end, tuple(sorted(inside, key=self.flow.position.__getitem__))))
                left -= inside
                dealt |= inside
        if left and pieces:
            last = sorted(left.union(pieces[-1].tensors), key=self.flow.position.__getitem__)
            pieces[-1] = Piece(pieces[-1].output, tuple(last))
        return tuple(pieces)
