from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.show.budget import Candidate, block_priorities, choose, page_bytes, top_priority


def test_stages_go_before_blocks_whatever_the_order() -> None:
    candidates = [Candidate("a.1", 2, 30), Candidate("a", 0, 50), Candidate("b", 0, 40), Candidate("b.2", 1, 20)]
    choice = choose(candidates, 115)
    assert [c.name for c in choice.chosen] == ["a", "b", "b.2"]
    assert [c.name for c in choice.left_out] == ["a.1"]
    assert choice.size == 110


def test_a_large_one_does_not_keep_small_ones_out() -> None:
    choice = choose([Candidate("huge", 0, 1000), Candidate("small", 1, 10)], 100)
    assert [c.name for c in choice.chosen] == ["small"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50)), max_size=30),
    st.integers(0, 300),
)
def test_the_choice_keeps_the_budget_and_loses_nothing(items: list[tuple[int, int]], budget: int) -> None:
    candidates = [Candidate(str(i), priority, size) for i, (priority, size) in enumerate(items)]
    choice = choose(candidates, budget)
    assert choice.size == sum(c.size for c in choice.chosen) <= budget
    assert sorted([*choice.chosen, *choice.left_out], key=lambda c: int(c.name)) == candidates
    for missing in choice.left_out:  # nothing of the same or lower rank took a place that it needed
        before = sum(c.size for c in choice.chosen if (c.priority, int(c.name)) < (missing.priority, int(missing.name)))
        assert before + missing.size > budget


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [([2, 3], [[3, 2], [4, 5, 2]]), ([1, 0, 1], [[2], [], [2]]), ([], [])],
)
def test_the_last_block_of_each_stage_goes_first(blocks: list[int], expected: list[list[int]]) -> None:
    assert block_priorities(blocks) == expected
    assert top_priority("backbone") < min(map(top_priority, ("stem", "neck", "heads"))) < 2


@pytest.mark.parametrize("count", [0, 1, 2, 3, 300, 301])
def test_bytes_on_the_page_are_base64(count: int) -> None:
    assert page_bytes(count) == len(base64.b64encode(bytes(count)))
