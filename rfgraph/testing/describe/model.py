"""`Description`: a small model as frozen plain data, which prints as the code that builds it.

In: layers and the shape of the input. Out: code, a module, shapes.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import Any, Literal

import torch
from torch import nn

from rfgraph.testing.describe.branches import Chain
from rfgraph.testing.describe.code import Code, Layer, Shape, Value

_IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
_FILES = cycle(f"description_{number}.py" for number in range(100))


@dataclass(frozen=True, repr=False, kw_only=True)
class Description:
    """A model: what it is made of, and the shape of the input that goes with it.

    Attributes:
        shape: of the input `x`: batch, channels, and a size for each spatial dim.
        layers: one after the other.
        returns: how several outputs (see `Tap`) are returned.
        seed: of the weights.
    """

    shape: Shape
    layers: Chain
    returns: Literal["tuple", "dict"] = "tuple"
    seed: int = 0

    @cached_property
    def _written(self) -> tuple[Code, Value]:
        code = Code(self.shape[0])
        return code, code.chain(self.layers, Value("x", self.shape[1:]), "x")

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """The shape of every input, by the name of forward's argument."""
        sides = self._written[0].inputs.items()
        return {"x": self.shape, **{name: (self.shape[0], *shape) for name, shape in sides}}

    @property
    def output_shape(self) -> Shape:
        """Of the last output."""
        return (self.shape[0], *self._written[1].shape)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of the input, and after each of the `layers`."""
        found, code = [self.shape], Code()
        value = Value("x", self.shape[1:])
        for layer in self.layers:
            value = layer.emit(code, value, "x")
            found.append((self.shape[0], *value.shape))
        return tuple(found)

    def walk(self) -> Iterator[Layer]:
        """Every layer, those inside branches after the one that holds them."""
        pending = list(reversed(self.layers))
        while pending:
            layer = pending.pop()
            yield layer
            pending += reversed(layer.within())

    @property
    def count(self) -> int:
        """How many layers there are, those inside branches included."""
        return sum(1 for _ in self.walk())

    def source(self) -> str:
        """The model's class."""
        code, value = self._written
        names = ", ".join(self.input_shapes)
        return "\n".join(
            [
                "class Model(nn.Module):",
                "    def __init__(self):",
                "        super().__init__()",
                *(f"        {line}" for line in code.attributes),
                "",
                f"    def forward(self, {names}):",
                *(f"        {line}" for line in code.lines),
                f"        return {self._returned(code.taps, value.name)}",
                "",
            ]
        )

    def _returned(self, taps: list[str], last: str) -> str:
        if not taps:
            return last
        if self.returns == "tuple":
            return ", ".join((*taps, last))
        return (
            "{" + ", ".join(f"{name!r}: {value}" for name, value in self._pairs(taps, last)) + "}"
        )

    @staticmethod
    def _pairs(taps: list[str], last: str) -> Iterator[tuple[str, str]]:
        yield from ((name, name) for name in taps)
        yield "last", last

    def code(self) -> str:
        """Stand-alone Python that leaves the same module in `model` and its inputs' shapes beside it."""
        return (
            f"{_IMPORTS}\n\n{self.source()}\n\ntorch.manual_seed({self.seed})\n"
            f"model = Model().eval()\ninput_shapes = {self.input_shapes}\n"
        )

    def build(self) -> nn.Module:
        """The module in eval mode, with seeded weights. The global random state is left as it was.

        It runs the text of `code`, so the two cannot differ.
        """
        # In linecache, where tracebacks find them, the lines of the last hundred models are kept.
        path = next(_FILES)
        text = f"{_IMPORTS}\n\n{self.source()}"
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
        names: dict[str, Any] = {"__name__": "description"}
        exec(compile(text, path, "exec"), names)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            model: nn.Module = names["Model"]()
        return model.eval()

    def __repr__(self) -> str:
        return self.code()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis prints a failing example by this: as its code, too."""
        printer.text("\n" + self.code())
