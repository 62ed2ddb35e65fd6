"""Trails are sets of origins in the order of the model, and share what they have in common."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rfgraph.propagation.trail import Origin, Trail, extend, merge


def chain(*names: str) -> Trail:
    """A trail with one origin a node, in this order."""
    trail = None
    for name in names:
        trail = extend(trail, name, "pooling")
    assert trail is not None
    return trail


def nodes(trail: Trail) -> list[str]:
    return [origin.node for origin in trail]


def test_origins_come_in_the_order_of_the_model() -> None:
    assert nodes(chain("stem", "layer1.se", "layer2.se")) == ["stem", "layer1.se", "layer2.se"]


def test_an_origin_is_a_node_and_a_text() -> None:
    both = extend(chain("pool"), "attention", "softmax")
    assert list(both) == [Origin("pool", "pooling"), Origin("attention", "softmax")]


def test_a_node_may_be_the_origin_of_two_things() -> None:
    twice = extend(chain("norm"), "norm", "statistics")
    assert list(twice) == [("norm", "pooling"), ("norm", "statistics")]


def test_branches_that_meet_list_what_they_share_once_and_first() -> None:
    stem = chain("stem", "shared")
    left, right = extend(stem, "left", "pooling"), extend(stem, "right", "pooling")
    meeting = merge(left, right)
    assert meeting is not None
    assert nodes(meeting) == ["stem", "shared", "left", "right"]


def test_the_same_origin_on_two_trails_is_listed_once() -> None:
    assert nodes(merge(chain("a", "b"), chain("c", "b"))) == ["a", "b", "c"]


def test_merging_with_nothing_or_with_itself_makes_no_new_trail() -> None:
    trail = chain("a")
    assert merge(trail, None) is trail
    assert merge(None, trail) is trail
    assert merge(trail, trail) is trail
    assert merge(None, None) is None


def test_a_branch_merged_with_the_stem_it_grew_from_is_the_branch() -> None:
    stem = chain("stem")
    branch = extend(stem, "branch", "pooling")
    assert merge(stem, branch) is branch
    assert merge(branch, stem) is branch


def test_growing_a_trail_leaves_the_trail_it_grew_from_alone() -> None:
    stem = chain("stem")
    extend(stem, "left", "pooling")
    merge(extend(stem, "right", "pooling"), chain("other"))
    assert nodes(stem) == ["stem"]


def test_a_trail_of_a_deep_model_is_shared_not_copied() -> None:
    depth = 5000
    trail = chain("0")
    for block in range(1, depth):  # a residual net: each block merges its branch with its skip
        trail = merge(trail, extend(trail, str(block), "pooling"))
        assert len(trail.own) == len(trail.parents) == 1
    assert nodes(trail) == [str(block) for block in range(depth)]


def test_merges_of_merges_are_walked_once_each() -> None:
    trail = chain("start")
    for level in range(60):  # 2 ** 60 paths lead back to the start
        trail = merge(extend(trail, f"l{level}", "pooling"), extend(trail, f"r{level}", "pooling"))
    assert len(nodes(trail)) == 121


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("extend"), st.integers(0, 5), st.integers(0, 8)),
        st.tuples(st.just("merge"), st.integers(0, 5), st.integers(0, 5)),
    ),
    max_size=20,
)


@given(STEPS)
def test_a_trail_holds_exactly_what_went_into_it(steps) -> None:
    trails: list[tuple[Trail | None, set[str]]] = [(None, set())]
    for kind, which, other in steps:
        trail, members = trails[which % len(trails)]
        if kind == "extend":
            trails.append((extend(trail, str(other), "linear"), members | {str(other)}))
        else:
            second, more = trails[other % len(trails)]
            trails.append((merge(trail, second), members | more))
    for trail, members in trails:
        listed = [] if trail is None else nodes(trail)
        assert sorted(listed) == sorted(members)
