"""`Interned`: where in a model causes, limits and marks came about, written once for all rows.

In: trails, which deep models share. Out: entries that name those before them, and the number of each.

A row of a model with a thousand gates has a thousand causes: written out in each row, they fill gigabytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from rfgraph.propagation.trail import Trail, Whence
from rfgraph.report.figures import PlainData


class Interned:
    """The entries of a report so far.

    An entry `{"node": "gate", "text": "pooling", "after": [3]}` stands for this node and for all that the
    entries number 3 stands for; one without a node, for the others together.
    """

    def __init__(self) -> None:
        self.entries: list[PlainData] = []
        self._numbers: dict[Trail, int] = {}
        self._together: dict[tuple[int, ...], int] = {}

    def row(self, whences: Sequence[Whence]) -> PlainData:
        """The numbers of the entries that list the causes, limits and marks of a row, axis by axis."""
        return {
            name: [self._of(trails) for trails in column]
            for name, column in zip(Whence._fields, zip(*whences, strict=True), strict=True)
        }

    def _of(self, trails: Sequence[Trail]) -> int | None:
        numbers = tuple(map(self._number, trails))
        if len(numbers) < 2:
            return numbers[0] if numbers else None
        if numbers not in self._together:
            self._together[numbers] = self._entered({"after": list(numbers)})
        return self._together[numbers]

    def _number(self, trail: Trail) -> int:
        stack = [trail]
        while stack:
            last = stack[-1]
            missing = [parent for parent in last.parents if parent not in self._numbers]
            if missing:
                stack += missing
            elif last in self._numbers:
                stack.pop()
            else:
                after = [self._numbers[parent] for parent in last.parents]
                origins = [origin._asdict() for origin in last.own]
                entry: PlainData = origins[0] if origins else {}
                self._numbers[stack.pop()] = self._entered({**entry, "after": after})
        return self._numbers[trail]

    def _entered(self, entry: PlainData) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1
