"""A program: statements over tensors, as text that torch runs and that a person can paste.

In: statements. Out: a module, its source, what each variable holds for an input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAMES = {"torch": torch, "F": F, "nn": nn, "np": np}
HEADER = """\
import numpy as np, torch, torch.nn.functional as F, rfgraph
from torch import nn

torch.set_default_dtype(torch.float64)

"""
VARIABLE = re.compile(r"\b(?:v\d+|x)\b")
MEMBER = re.compile(r"\bself\.(m\d+)\b")


@dataclass(frozen=True)
class Statement:
    """Some lines, the last of which binds `name`; what they draw on, and the operator they were drawn for."""

    name: str
    lines: tuple[str, ...]
    operator: str

    @property
    def uses(self) -> set[str]:
        return {found for line in self.lines for found in VARIABLE.findall(line)} - {self.name}

    @property
    def writes(self) -> bool:
        """May it change a tensor that has another name?"""
        return len(self.lines) > 1 or "_(" in self.lines[-1] or "out=" in self.lines[-1]


@dataclass(frozen=True)
class Program:
    """A model of one input `x`; `members` are made once, each by its text.

    `axes`: what is tracked of it; None: what is by default.
    """

    shape: tuple[int, ...]
    statements: tuple[Statement, ...] = ()
    members: tuple[tuple[str, str], ...] = ()
    axes: tuple[int, ...] | None = None

    @property
    def tracked(self) -> tuple[int, ...]:
        return tuple(range(2, len(self.shape))) if self.axes is None else self.axes

    def at(self, shape: tuple[int, ...]) -> Program:
        return replace(self, shape=shape)

    def source(self) -> str:
        text = [line for statement in self.statements for line in statement.lines]
        used = {name for line in text for name in MEMBER.findall(line)}
        members = [f"self.{name} = {made}" for name, made in self.members if name in used]
        results = ", ".join(f'"{s.name}": {s.name}' for s in self.statements)
        body = "".join(f"        {line}\n" for line in text)
        inits = "".join(f"        {line}\n" for line in ("super().__init__()", *members))
        return (
            "class Model(nn.Module):\n"
            f"    def __init__(self):\n{inits}\n"
            f"    def forward(self, x):\n{body}        return {{{results}}}\n"
        )

    def build(self) -> nn.Module:
        torch.default_generator.manual_seed(0)
        space: dict[str, Any] = dict(NAMES)
        exec(compile(self.source(), "<hostile program>", "exec"), space)
        model: nn.Module = space["Model"]()
        return model.eval()

    def script(self) -> str:
        """What shows it, but for the last line."""
        axes = "" if self.axes is None else f", axes={self.axes}"
        made = f"report = rfgraph.analyze(Model().eval(), {self.shape}{axes})\n"
        return f"{HEADER}\n{self.source()}\n\n{made}"


def run(model: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
    """Every variable at the end of a run, apart from any memory that they share; draws are the same in each run."""
    torch.default_generator.manual_seed(1)
    with torch.no_grad():
        found = model(x.clone())
    return {name: value.detach().clone() for name, value in found.items()}


def run_text(line: str, space: dict[str, Any]) -> None:
    """One line of a forward."""
    with torch.no_grad():
        exec(line, space)
