"""Which layers train, and how fast: learning rates by the names of parameters, 0 for a layer that stays as it is."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxvis.errors import UsageError
from onnxvis.files import one_line

__all__ = ["Rates", "parameter_groups", "parse_rates", "set_modes"]

_LONGEST_NAME = 200


@dataclass(frozen=True)
class Rates:
    """`default`: the rate of every parameter that no name in `named`, (name, rate), speaks of.

    A name is a prefix of a parameter's dotted name that ends at a dot: `layer1` means layer1.0.conv1.weight, and
    nothing of layer10. Of several that match, the longest counts.
    """

    default: float
    named: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name, rate in (("", self.default), *self.named):
            if not (math.isfinite(rate) and 0 <= rate <= 100):
                start = f"{one_line(name)}=" if name else ""
                raise UsageError(f"--lr {start}{rate:g} is no learning rate; they go from 0 (frozen) to 100")

    def rule(self, parameter: str) -> str:
        """The longest name that speaks of `parameter`, '' where only the default does."""
        found = (name for name, _ in self.named if parameter == name or parameter.startswith(f"{name}."))
        return max(found, key=len, default="")

    def rate(self, parameter: str) -> float:
        """The learning rate of `parameter`, 0 where it does not train."""
        return dict(self.named).get(self.rule(parameter), self.default)

    def check(self, parameters: Sequence[str]) -> None:
        """Raise UsageError for a name that matches no parameter, with the nearest that do, or where nothing trains."""
        scopes = list(dict.fromkeys(prefix for name in parameters for prefix in _prefixes(name)))
        for name, _ in self.named:
            if name not in scopes:
                near = difflib.get_close_matches(name[:_LONGEST_NAME], scopes, 3, 0.3) or scopes[:3]
                raise UsageError(
                    f"--lr {one_line(name)}=… names no layer of this network; nearest: {', '.join(near)}. "
                    f"It begins with {', '.join(dict.fromkeys(scope.split('.')[0] for scope in scopes))}"
                )
        if not any(self.rate(name) for name in parameters):
            raise UsageError(
                "every layer has the learning rate 0, so nothing would train; give one with --lr NAME=RATE"
            )


def parse_rates(texts: Sequence[str], default: float) -> Rates:
    """The rates that `--lr RATE` and `--lr NAME=RATE` ask for; `default` where no rate comes without a name.

    Raises UsageError for what is no number or out of range, and for a name given twice.
    """
    named: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        name = name.strip().strip(".")
        if (equals and not name) or len(name) > _LONGEST_NAME:
            raise UsageError(f"--lr {one_line(text)}: give a rate, or NAME=RATE with the name of a layer")
        if name in named:
            raise UsageError(f"--lr gives {f'{one_line(name)} a rate' if name else 'the rate of all layers'} twice")
        try:
            named[name] = float(value)
        except ValueError:
            raise UsageError(f"--lr {one_line(text)}: '{one_line(value)}' is no number") from None
    overall = named.pop("", default)
    return Rates(overall, tuple(named.items()))


def parameter_groups(network: Any, rates: Rates) -> list[dict[str, Any]]:
    """The groups of an optimizer for `network` (an nn.Module), one for each rule that trains something.

    Parameters whose rate is 0 get no gradient (requires_grad off) and are in no group. Raises UsageError as
    `Rates.check`.
    """
    parameters = dict(network.named_parameters())
    rates.check(list(parameters))
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in parameters.items():
        rate = rates.rate(name)
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            groups.setdefault(rates.rule(name), {"params": [], "lr": rate})["params"].append(parameter)
    return list(groups.values())


def set_modes(network: Any) -> None:
    """Training mode for `network`, but evaluation mode for batch norm that is frozen: its statistics stay too."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if hasattr(module, "running_mean") and own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _prefixes(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))
