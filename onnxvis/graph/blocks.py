"""The parts, stages and blocks of a network, found from its graph alone.

A stage ends where all data on its way to the deepest resolution passes for the last time at that resolution. Names
only label what the graph has shown: models from Paddle, TensorFlow or Darknet have none that help.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from onnxvis.graph.flow import Flow
from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.levels import Level, find_levels
from onnxvis.graph.ops import PASS_THROUGH
from onnxvis.graph.scopes import Scopes
from onnxvis.graph.tail import split_tail
from onnxvis.graph.view import GraphView

__all__ = ["Block", "find_parts"]

_PARTS = frozenset({"stem", "backbone", "neck", "head"})
_REARRANGING = PASS_THROUGH - {"DequantizeLinear"} | {"Transpose", "Pad"}


@dataclass(frozen=True)
class Block:
    """A piece of the network in the tree part → stage → block → layer.

    `name` is the exporter's scope where it has one ('layer1.0'), else equal to `key`, the place in the tree
    ('stage1.block1'); both are addresses. `tensors` in the order they are made; `output` is what the piece hands on,
    with its channels × height × width (a vector of n: n × 1 × 1; 0 where a size is not known).
    """

    name: str
    key: str
    kind: str
    tensors: tuple[str, ...]
    output: str
    channels: int
    height: int
    width: int
    children: tuple[Block, ...] = ()

    def walk(self) -> Iterator[Block]:
        """This block and all below it, parents before children."""
        yield self
        for child in self.children:
            yield from child.walk()


def find_parts(view: GraphView, maps: FeatureMaps) -> tuple[Block, ...]:
    """The network's parts in order: stem, backbone, neck, heads; those it does not have are left out.

    The backbone's children are its stages, a stage's children its blocks, a block's children its layers. Empty for a
    model without feature maps.
    """
    return _Partition(view, maps).parts()


def _joined(stage: Block) -> list[Block]:
    """A stage's blocks but for plain convolutions: a first one before `layer1` does not take that name away."""
    joined = [block for block in stage.children if block.kind != "conv"] if stage.kind == "stage" else []
    return joined if len(joined) > 1 else []


class _Partition:
    """Finds the borders between blocks, then deals every tensor of the data path to the block it belongs to."""

    def __init__(self, view: GraphView, maps: FeatureMaps) -> None:
        self.view = view
        self.maps = maps
        self.flow = Flow(view, maps)
        self.levels = find_levels(view, maps)
        self.scopes = Scopes(view)
        self.sources = [tensor.name for tensor in view.inputs]
        self.taken: set[str] = set(self.sources)
        self.names: set[str] = set()

    def parts(self) -> tuple[Block, ...]:
        deepest = self._deepest_output()
        if deepest is None:
            return ()
        trunk = self.flow.chokepoints(self.sources, [deepest])
        convolutions = self._convolutions_by_level(deepest)
        outputs = self._stage_outputs(deepest, convolutions)
        deepest = outputs[-1]
        stem = self._stem_length(outputs, convolutions, deepest)
        parts = []
        if stem:
            parts.append(self._region("stem", "stem", outputs[:stem], trunk))
        stages = [self._region(f"stage{i}", "stage", [end], trunk) for i, end in enumerate(outputs[stem:], 1)]
        parts.append(self._parent("backbone", "backbone", stages))
        parts += self._neck_and_heads()
        return self._named(parts)

    def _deepest_output(self) -> str | None:
        """Where the backbone ends: the last join or inverted-residual projection at the deepest level."""
        convolved = [name for name in self.levels if self.flow.basis[name] == name and self.flow.is_convolution(name)]
        if not convolved:
            return None
        level = max((self.levels[name] for name in convolved), key=lambda level: level[0] * level[1])
        here = [name for name in self.flow.order if self.levels.get(name) == level]
        entries = self._entries(here)
        sinks = [tensor.name for tensor in self.view.outputs if tensor.name in self.flow.position]
        chain = self.flow.chokepoints(entries, sinks) or here[-1:]
        reached = []
        for name in chain:
            if self.levels.get(name, level) != level:
                break
            if name in self.levels:
                reached.append(name)
        for wanted in (self._is_fusion, self.flow.is_convolution):
            ends = [name for name in reached if wanted(name)]
            if ends:
                return self._proper(ends[-1], reached)
        return here[-1]

    def _entries(self, here: list[str]) -> list[str]:
        """The tensors through which data first comes to a level: none before them stands at it."""
        after: set[str] = set()
        entries = []
        for name in here:
            if name not in after:
                entries.append(name)
                after |= self.flow.descendants([name], after)
        return entries

    def _convolutions_by_level(self, deepest: str) -> dict[Level, int]:
        counts: dict[Level, int] = {}
        for name in self.flow.ancestors([deepest]):
            level = self.levels.get(name)
            if level is not None and self.flow.basis[name] == name and self.flow.is_convolution(name):
                counts[level] = counts.get(level, 0) + 1
        return counts

    def _stage_outputs(self, deepest: str, convolutions: dict[Level, int]) -> list[str]:
        """The last chokepoint of each level that has a convolution, expansions skipped, shallowest first."""
        last: dict[Level, str] = {}
        deepest_level = self.levels[deepest]
        here = [name for name in self.flow.order if self.levels.get(name) == deepest_level]
        chain = self.flow.chokepoints(self.sources, self._entries(here))
        for name in chain:
            level = self.levels.get(name)
            if level in convolutions and level != deepest_level and not self.flow.is_expansion(name):
                last[level] = self._proper(name, chain)
        outputs = [name for name in last.values() if name not in self.sources]
        return [*outputs, self._closed(deepest, outputs)]

    def _closed(self, deepest: str, outputs: list[str]) -> str:
        """The end of the backbone: a convolution after its last join, where all stages with joins close with one."""
        joined = [name for name in outputs if any(map(self.flow.is_join, self.flow.ancestors([name])))]
        if not self.flow.is_join(deepest) or not joined or not all(map(self._closes_join, joined)):
            return deepest
        sinks = [tensor.name for tensor in self.view.outputs if tensor.name in self.flow.position]
        chain = self.flow.chokepoints([deepest], sinks)
        here = [name for name in chain if self.levels.get(name) == self.levels[deepest]]
        closing = next((name for name in here if self._closes_join(name)), None)
        return [name for name in here if self.flow.basis[name] == closing][-1] if closing else deepest

    def _closes_join(self, name: str) -> bool:
        before = self.flow.before(self.flow.basis[name])
        return self.flow.is_convolution(name) and bool(before) and self.flow.is_join(before[0])

    def _stem_length(self, outputs: list[str], convolutions: dict[Level, int], deepest: str) -> int:
        """How many leading stages hold a single convolution, in a network of joins or depthwise blocks."""
        trunk = self.flow.ancestors([deepest])
        if not any(self.flow.is_join(name) or self.flow.is_depthwise(name) for name in trunk):
            return 0
        single = [convolutions[self.levels[name]] == 1 for name in outputs[:-1]]
        return single.index(False) if False in single else len(single)

    def _proper(self, name: str, chain: list[str]) -> str:
        """`name`, or what it merely rearranges: a stage's output is an activation, not the Pad or Transpose after."""
        known = set(chain)
        node = self.view.producer(name)
        while node is not None and node.op in _REARRANGING and self.flow.before(name):
            before = self.flow.before(name)[0]
            if before not in known:
                break
            name, node = before, self.view.producer(before)
        return name

    def _region(self, key: str, kind: str, ends: list[str], trunk: list[str]) -> Block:
        """A stretch of the trunk up to the last of `ends`, cut at its joins, projections and convolutions."""
        inside = self.flow.ancestors(ends[-1:], self.taken)
        chain = [name for name in trunk if name in inside]
        own = [name for name in chain if self.flow.basis[name] in inside]
        last_join = max((i for i, name in enumerate(own) if self._is_fusion(name)), default=-1)
        borders = [name for i, name in enumerate(own) if self._ends_block(name, followed=i < last_join)]
        last_of: dict[str, str] = {self.flow.basis[name]: name for name in borders}
        cuts = [self._proper(name, chain) for name in last_of.values()]
        blocks = [self._block(f"{key}.block", i, cut) for i, cut in enumerate([c for c in cuts if c != ends[-1]], 1)]
        if ends[-1] not in self.taken:
            blocks.append(self._block(f"{key}.block", len(blocks) + 1, ends[-1]))
        return self._parent(key, kind, blocks, ends[-1])

    def _is_fusion(self, name: str) -> bool:
        return self.flow.is_join(name) or self.flow.is_projection(name)

    def _ends_block(self, name: str, followed: bool) -> bool:
        """Joins and projections end blocks; a convolution where it changes the resolution, or no join follows it."""
        if self._is_fusion(name):
            return True
        if not self.flow.is_convolution(name) or self.flow.is_depthwise(name) or self.flow.is_expansion(name):
            return False
        basis = self.flow.basis[name]
        same_level = any(self.levels.get(item) == self.levels.get(basis) for item in self.flow.before(basis))
        return not (followed and same_level)

    def _block(self, prefix: str, number: int, end: str) -> Block:
        inside = self.flow.ancestors([end], self.taken)
        self.taken |= inside
        ordered = sorted(inside, key=self.flow.position.__getitem__)
        key = f"{prefix}{number}"
        return self._made(key, self._kind(end, ordered), ordered, end, self._layers(key, ordered))

    def _kind(self, end: str, tensors: list[str]) -> str:
        depthwise = any(self.flow.is_depthwise(name) for name in tensors)
        if self.flow.is_join(end):
            concatenating = "Concat" in getattr(self.flow.core(end), "op", "")
            return "concat" if concatenating else "inverted residual" if depthwise else "residual"
        if depthwise:
            return "inverted residual" if any(map(self.flow.is_expansion, tensors)) else "separable"
        node = self.flow.core(end)
        return "conv" if self.flow.is_convolution(end) else node.op.lower() if node else "input"

    def _layers(self, key: str, tensors: Iterable[str]) -> list[Block]:
        groups: dict[str, list[str]] = {}
        for name in tensors:
            groups.setdefault(self.flow.basis[name], []).append(name)
        layers = []
        for number, (basis, group) in enumerate(groups.items(), 1):
            node = self.view.producer(basis if basis in group else group[0])
            kind = node.op if node else "input"
            end = next((name for name in reversed(group) if name in self.maps), group[-1])
            layers.append(self._made(f"{key}.layer{number}", kind, group, end, []))
        return layers

    def _neck_and_heads(self) -> list[Block]:
        tail = split_tail(self.flow, self.levels, self.taken)
        blocks = []
        for number, piece in enumerate(tail.neck, 1):
            key = f"neck.block{number}"
            fused = any(self.flow.basis[name] == name and self.flow.is_join(name) for name in piece.tensors)
            kind = "fusion" if fused else self._kind(piece.output, [*piece.tensors])
            blocks.append(self._made(key, kind, piece.tensors, piece.output, self._layers(key, piece.tensors)))
        parts = [self._parent("neck", "neck", blocks)] if blocks else []
        for number, piece in enumerate(tail.heads, 1):
            key = "head" if len(tail.heads) == 1 else f"head{number}"
            parts.append(self._made(key, "head", piece.tensors, piece.output, self._layers(key, piece.tensors)))
        return parts

    def _parent(self, key: str, kind: str, children: list[Block], end: str | None = None) -> Block:
        tensors = [name for child in children for name in child.tensors]
        return self._made(key, kind, tensors, end or children[-1].output, children)

    def _named(self, parts: list[Block]) -> tuple[Block, ...]:
        """The parts with names, no two alike; a scope that is the key of a block without a scope is no name."""
        refused: set[str] = set(_PARTS)
        while True:
            self.names = set(refused)
            named = tuple(self._labelled(part, part.name) for part in parts)
            counts = Counter(block.name for part in named for block in part.walk())
            repeated = {name for name, count in counts.items() if count > 1}
            if not repeated - refused:
                return named
            refused |= repeated

    def _labelled(self, block: Block, name: str) -> Block:
        """The same tree with the exporter's scopes as names: of those that hold a piece and nothing else, the widest
        that no other piece has taken. A stage leaves to its blocks what is rather the name of one of them.
        """
        possible = [self._labels([child]) or self._labels(_joined(child)) for child in block.children]
        children = []
        for child, labels in zip(block.children, possible, strict=True):
            blocks = child.children if child.kind == "stage" else ()
            inner = {inner[-1] for block in blocks if (inner := self._labels([block]))}
            free = (label for label in labels if label not in inner and label not in self.names)
            chosen = next((label for label in free if sum(label in other for other in possible) == 1), child.key)
            self.names.add(chosen)
            children.append(self._labelled(child, chosen))
        return replace(block, name=name, children=tuple(children))

    def _labels(self, blocks: list[Block]) -> list[str]:
        """The scopes that hold these blocks and nothing else, the widest first."""
        names = [name for block in blocks for name in block.tensors if self.flow.basis[name] == name]
        makers = [self.view.producer(name) for name in names]
        return self.scopes.labels(node for node in makers if node is not None)

    def _made(self, key: str, kind: str, tensors: Iterable[str], end: str, children: list[Block]) -> Block:
        channels, height, width = self.maps.chw(end) or self._vector(end)
        return Block(key, key, kind, tuple(tensors), end, channels, height, width, tuple(children))

    def _vector(self, name: str) -> tuple[int, int, int]:
        shape = self.view.shape(name)
        last = shape[-1] if shape else 0
        return (last if isinstance(last, int) else 0), 1, 1
