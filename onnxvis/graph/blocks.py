"""The parts, stages and blocks of a network, found from its graph alone.

A stage ends where all data on its way to the deepest resolution passes for the last time at that resolution. Names
only label what the graph has shown: models from Paddle, TensorFlow or Darknet have none that help.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxvis.graph.flow import Flow
from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.levels import Level, find_levels
from onnxvis.graph.ops import CONVOLUTIONS, PASS_THROUGH, RESIZERS
from onnxvis.graph.scopes import Scopes
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


def find_parts(view: GraphView, maps: FeatureMaps) -> tuple[Block, ...]:
    """The network's parts in order: stem, backbone, neck, heads; those it does not have are left out.

    The backbone's children are its stages, a stage's children its blocks, a block's children its layers. Empty for a
    model without feature maps.
    """
    return _Partition(view, maps).parts()


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
        stem = self._stem_length(outputs, convolutions, deepest)
        parts = []
        if stem:
            parts.append(self._region("stem", "stem", outputs[:stem], trunk))
        stages = [self._region(f"stage{i}", "stage", [end], trunk) for i, end in enumerate(outputs[stem:], 1)]
        parts.append(self._parent("backbone", "backbone", stages))
        parts += self._neck_and_heads()
        return tuple(self._labelled(part, part.name) for part in parts)

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
        return [*(name for name in last.values() if name not in self.sources), deepest]

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
        last_join = max((i for i, name in enumerate(chain) if self._is_fusion(name)), default=-1)
        borders = [name for i, name in enumerate(chain) if self._ends_block(name, followed=i < last_join)]
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

    def _block(self, prefix: str, number: int, end: str, tensors: set[str] | None = None) -> Block:
        inside = self.flow.ancestors([end], self.taken) if tensors is None else tensors
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

    def _layers(self, key: str, tensors: list[str]) -> list[Block]:
        groups: dict[str, list[str]] = {}
        for name in tensors:
            groups.setdefault(self.flow.basis[name], []).append(name)
        layers = []
        for number, (basis, group) in enumerate(groups.items(), 1):
            node = self.view.producer(basis if basis in group else group[0])
            kind = node.op if node else "input"
            layers.append(self._made(f"{key}.layer{number}", kind, group, group[-1], []))
        return layers

    def _neck_and_heads(self) -> list[Block]:
        """What is left: pieces that several outputs or a later fusion need are the neck, the rest one head an output."""
        rest = [name for name in self.flow.order if name not in self.taken]
        ends = [tensor.name for tensor in self.view.outputs if tensor.name in self.flow.position]
        reaching: dict[str, int] = {}
        exclusive: dict[str, str] = {}
        for end in ends:
            for name in self.flow.ancestors([end], self.taken):
                reaching[name] = reaching.get(name, 0) + 1
                exclusive[name] = end
        fused = self._before_fusion(rest)
        neck = [name for name in rest if name in fused or reaching.get(name, 0) > 1]
        parts = [self._neck(neck)] if neck else []
        heads: dict[str, list[str]] = {}
        for name in rest:
            if reaching.get(name) == 1 and name not in fused:
                heads.setdefault(exclusive[name], []).append(name)
        for number, (end, names) in enumerate(heads.items(), 1):
            key = "head" if len(heads) == 1 else f"head{number}"
            self.taken |= set(names)
            parts.append(self._made(key, "head", names, end, self._layers(key, names)))
        return parts

    def _before_fusion(self, rest: list[str]) -> set[str]:
        """Everything up to the last join or resize that is followed by a convolution of its own maps."""
        fusions = []
        convolved: set[str] = set()
        for name in reversed([name for name in rest if name in self.levels]):
            node = self.flow.core(name)
            if any(item in convolved for item in self.flow.after(name)):
                convolved.add(name)
                if self.flow.basis[name] in self.taken:
                    continue
                if self.flow.is_join(name) or (node is not None and node.op in {*RESIZERS, "ConvTranspose"}):
                    fusions.append(name)
            if self.flow.is_convolution(name) and self.flow.basis[name] == name:
                convolved.add(name)
        return self.flow.ancestors(fusions, self.taken)

    def _neck(self, names: list[str]) -> Block:
        left = set(names)
        blocks: list[Block] = []
        for name in names:
            basis = self.flow.basis[name]
            if basis in left and self.flow.is_join(name) and self._last_map(basis) == name:
                inside = self.flow.ancestors([name], self.taken) & left
                blocks.append(self._block("neck.block", len(blocks) + 1, name, inside))
        remaining = [name for name in names if name not in self.taken]
        if remaining:
            blocks.append(self._block("neck.block", len(blocks) + 1, remaining[-1], set(remaining)))
        return self._parent("neck", "neck", blocks)

    def _last_map(self, basis: str) -> str:
        return [name for name in self.flow.family[basis] if name in self.maps or name == basis][-1]

    def _parent(self, key: str, kind: str, children: list[Block], end: str | None = None) -> Block:
        tensors = [name for child in children for name in child.tensors]
        return self._made(key, kind, tensors, end or children[-1].output, children)

    def _labelled(self, block: Block, name: str) -> Block:
        """The same tree with the exporter's scopes as names where they are there and tell siblings apart."""
        labels = [self._label(child, strict=block.kind == "neck") for child in block.children]
        if block.name == "backbone":
            labels = [
                label if self._is_own(label, child) else "" for label, child in zip(labels, block.children, strict=True)
            ]
        children = []
        for child, label in zip(block.children, labels, strict=True):
            usable = label and labels.count(label) == 1 and label not in self.names and label not in _PARTS
            chosen = label if usable else child.key
            self.names.add(chosen)
            children.append(self._labelled(child, chosen))
        return replace(block, name=name, children=tuple(children))

    def _is_own(self, label: str, stage: Block) -> bool:
        """Whether a scope holds this stage and nothing else, and is not rather the name of a single block in it."""
        if not label or any(self._label(child) == label for child in stage.children):
            return False
        own = set(stage.tensors)
        convolutions = [
            name for name in self.flow.order if self.flow.basis[name] == name and self.flow.is_convolution(name)
        ]
        outside = [node for name in convolutions if name not in own and (node := self.view.producer(name))]
        return not any(self.scopes.holds(label, node) for node in outside)

    def _label(self, block: Block, strict: bool = False) -> str:
        """The scope of a block's convolutions, which says what it is; strictly, of all its nodes."""
        makers = [self.view.producer(name) for name in block.tensors if self.flow.basis[name] == name]
        nodes = [node for node in makers if node is not None]
        convolutions = [node for node in nodes if node.op in CONVOLUTIONS]
        return self.scopes.label(nodes if strict else convolutions or nodes)

    def _made(self, key: str, kind: str, tensors: list[str], end: str, children: list[Block]) -> Block:
        channels, height, width = self.maps.chw(end) or self._vector(end)
        return Block(key, key, kind, tuple(tensors), end, channels, height, width, tuple(children))

    def _vector(self, name: str) -> tuple[int, int, int]:
        shape = self.view.shape(name)
        last = shape[-1] if shape else 0
        return (last if isinstance(last, int) else 0), 1, 1
