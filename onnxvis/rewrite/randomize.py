"""A model whose last layers have had their weights shuffled: what a heatmap must not survive unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.bodies import Bodies
from onnxvis.graph.chains import Chains
from onnxvis.graph.load import Model
from onnxvis.graph.protos import copied
from onnxvis.graph.stored import Item, stored_items

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["WeightLayer", "randomize", "weight_layers"]

_MOST_BYTES = 1 << 30
_WEIGHTS = frozenset({
    "conv kernel", "fully connected weight", "attention weight", "recurrent input weight", "recurrent weight",
})  # fmt: skip


@dataclass(frozen=True)
class WeightLayer:
    """A node with weights of its own: `output` is the tensor that it makes, `weights` the stored tensors, its bias
    included.
    """

    node: str
    output: str
    weights: tuple[str, ...]


def weight_layers(model: Model, target: str) -> tuple[WeightLayer, ...]:
    """The convolutions, fully connected and other layers with stored weights on the way to tensor `target`, last first.

    Norms, and numbers that layers do not weigh their inputs with, are none. Weights may stand behind Casts, Transposes
    and quantisation. A tensor that several layers share belongs to the one nearest to `target`.
    """
    before, chains = _ancestors(model, target), Chains(model)
    found: list[WeightLayer] = []
    taken: set[str] = set()
    for node in reversed(model.view.nodes):
        if before.intersection(node.outputs):
            stored = [key for name in node.inputs if (key := chains.source(name))]
            roles = {key: model.weights.role(key)[0] for key in stored}
            weights = [key for key, role in roles.items() if role in (*_WEIGHTS, "bias") and key not in taken]
            if any(roles[key] in _WEIGHTS for key in weights):
                found.append(WeightLayer(node.label, node.outputs[0], tuple(weights)))
                taken.update(weights)
    return tuple(found)


def randomize(model: Model, weights: Iterable[str], random_seed: int = 0) -> Model:
    """`model` with the values of each of these stored tensors shuffled among its own places, seeded by their names.

    What is shuffled is held in memory; everything else is still read from the model's files, which are not changed.
    Quantised weights are shuffled as the codes that they are stored as. Raises TensorNotFound; RewriteError for a
    tensor that is no array of its own (a fill, a sparse one), or where more than 1 GiB would have to be held.
    """
    names = list(dict.fromkeys(weights))
    for name in names:
        model.weights.role(name)  # raises where it is not stored
    stored = model.weights.all()
    held = sum(model.read(name).nbytes for name in names)
    if held > _MOST_BYTES:
        raise RewriteError(
            f"the weights to be shuffled have {held:,} bytes, and up to {_MOST_BYTES:,} are held; shuffle fewer layers"
        )
    proto = copied(model.skeleton)
    places = dict(zip((one.name for one in stored), stored_items(Bodies(proto)), strict=True))
    for name in names:
        _shuffle(model, name, _tensor(places[name], name), random_seed)
    return Model(model.path, proto, model.folder, model.assumed_shapes)


def _shuffle(model: Model, name: str, tensor: TensorProto, random_seed: int) -> None:
    from onnx import numpy_helper

    seed = [random_seed, *name.encode("utf-8", "surrogatepass")]
    values = model.read(name)
    mixed = np.random.default_rng(seed).permutation(values.reshape(-1)).reshape(values.shape)
    made = numpy_helper.from_array(mixed, tensor.name)
    if made.data_type != tensor.data_type:
        raise RewriteError(
            f"tensor '{one_line(name)}' is of a type that cannot be written again, so it is not shuffled"
        )
    tensor.CopyFrom(made)


def _tensor(item: Item, name: str) -> TensorProto:
    from onnx import TensorProto as Proto

    if not isinstance(item.source, Proto):
        raise RewriteError(f"tensor '{one_line(name)}' is stored as no array of its own, so it cannot be shuffled")
    return item.source


def _ancestors(model: Model, target: str) -> set[str]:
    """Every tensor that `target` is computed from, itself included."""
    found, waiting = {target}, [target]
    while waiting:
        node = model.view.producer(waiting.pop())
        read = {*node.inputs, *node.captures} - found - {""} if node is not None else set()
        found |= read
        waiting += read
    return found
