"""Which pictures fit on the page: by stated priority, never more bytes than allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["DEFAULT_BUDGET", "Candidate", "Choice", "block_priorities", "choose", "page_bytes", "top_priority"]

DEFAULT_BUDGET = 10_000_000
"""Bytes of a whole report, unless told otherwise."""


@dataclass(frozen=True)
class Candidate:
    """Something that could be shown: a lower `priority` goes first, equal ones in the order given.

    `place` is the caller's own: where the thing stands.
    """

    name: str
    priority: int
    size: int
    place: tuple[int, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What fits, in the order given, what does not, and the bytes that the chosen take."""

    chosen: tuple[Candidate, ...]
    left_out: tuple[Candidate, ...]
    size: int


def choose(candidates: Iterable[Candidate], budget: int) -> Choice:
    """Take candidates by priority while they fit.

    One that is too large for what is left is passed over, and smaller ones after it may still fit: so nothing is shown
    in place of something of higher priority that would have fitted instead.
    """
    every = list(candidates)
    order = sorted(range(len(every)), key=lambda index: (every[index].priority, index))
    taken, spent = set(), 0
    for index in order:
        if spent + every[index].size <= budget:
            taken.add(index)
            spent += every[index].size
    chosen = tuple(candidate for index, candidate in enumerate(every) if index in taken)
    left_out = tuple(candidate for index, candidate in enumerate(every) if index not in taken)
    return Choice(chosen, left_out, spent)


def block_priorities(blocks: Sequence[int]) -> list[list[int]]:
    """Priorities for the blocks of each stage, given how many blocks each stage has; after all of `top_priority`.

    First the last block of every stage (2), then all others in depth order (3, 4, …): every stage keeps some picture
    of how it ends before any stage is shown in full.
    """
    result, following = [], 3
    for count in blocks:
        row = list(range(following, following + max(0, count - 1)))
        following += len(row)
        result.append(row + [2] * min(1, count))
    return result


def top_priority(part: str) -> int:
    """The priority of what is no block: 0 for a stage of the backbone, 1 for stem, neck and heads."""
    return 0 if part == "backbone" else 1


def page_bytes(data: int) -> int:
    """Characters that `data` bytes take on the page: as base64."""
    return -(-data // 3) * 4
