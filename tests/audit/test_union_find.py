from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.union_find import UnionFind

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def reachable(pairs: list[tuple[int, int]], start: int) -> set[int]:
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        new = {b for a, b in pairs if a == here} | {a for a, b in pairs if b == here}
        waiting += new - seen
        seen |= new
    return seen


@given(PAIRS)
def test_roots_are_the_smallest_number_that_can_be_reached(pairs: list[tuple[int, int]]) -> None:
    found = UnionFind()
    found.join_all(pairs)
    wanted = {number: min(reachable(pairs, number)) for pair in pairs for number in pair if pair[0] != pair[1]}
    assert found.roots() == wanted


@given(PAIRS, st.randoms())
def test_the_order_of_the_joins_makes_no_difference(pairs: list[tuple[int, int]], random: object) -> None:
    one, two = UnionFind(), UnionFind()
    one.join_all(pairs)
    random.shuffle(pairs)  # type: ignore[attr-defined]
    two.join_all((right, left) for left, right in pairs)
    assert one.roots() == two.roots()


def test_a_chain_of_a_hundred_thousand_needs_no_recursion() -> None:
    found = UnionFind()
    found.join_all((number, number + 1) for number in reversed(range(100_000)))
    assert set(found.roots().values()) == {0}
