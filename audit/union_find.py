"""Connected components by union-find (Tarjan 1975), with path halving."""

from collections.abc import Iterable


class UnionFind:
    """Numbers that were never joined are their own component. A component's root is its smallest number, whatever the
    order of the joins."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def find(self, number: int) -> int:
        parent = self._parent
        while (above := parent.get(number, number)) != number:
            parent[number] = number = parent.get(above, above)
        return number

    def join(self, left: int, right: int) -> None:
        left, right = self.find(left), self.find(right)
        if left != right:
            self._parent[max(left, right)] = min(left, right)
            self._parent.setdefault(min(left, right), min(left, right))

    def join_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        for left, right in pairs:
            self.join(left, right)

    def roots(self) -> dict[int, int]:
        """The root of every number that was joined with another."""
        return {number: self.find(number) for number in self._parent}
