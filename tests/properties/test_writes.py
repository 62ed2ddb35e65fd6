"""Random programs of views and writes: what the analysis says they read, held against the programs themselves.

A program is 5 to 30 statements over a tensor and its views. It is run as it is, with one element of the input
changed at a time; nothing of the capture takes part. Programs are drawn by number, so that a failure is
repeated by its number alone.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph

SHAPE = (3, 4)
COUNT, CHUNKS = 2000, 16


def _slice(rng: random.Random, size: int) -> slice:
    start = rng.randrange(size)
    step = rng.choice((1, 1, 1, 2))
    return slice(start or None, rng.choice((None, rng.randint(start + 1, size))), step)


class Program(nn.Module):
    """Statements in Python, drawn while a first run shows which of them torch takes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.source = drawn(seed)
        self.code = compile(self.source, f"program_{seed}", "exec")

    def forward(self, x: Tensor) -> Tensor:
        names = {"x": x, "torch": torch}
        exec(self.code, names)
        result: Tensor = names["out"]
        return result


def drawn(seed: int) -> str:
    """The source of program number `seed`."""
    rng = random.Random(seed)
    start = rng.choice(("x * 2", "x.clone()", "torch.zeros(3, 4, dtype=x.dtype)", "x.T.clone()"))
    lines = [f"t0 = {start}"]
    names: dict[str, Tensor] = {"x": torch.ones(SHAPE), "torch": torch}  # type: ignore[dict-item]
    exec(lines[0], names)
    tensors = ["t0"]
    for _ in range(rng.randint(4, 29)):
        line = _statement(rng, names, tensors)
        try:
            exec(line, names)
        except (RuntimeError, IndexError, ValueError, TypeError):
            continue  # torch does not take it: overlapping elements, sizes that do not fit
        lines.append(line)
        made = line.partition(" = ")[0]
        if made.isidentifier() and made not in tensors:
            tensors.append(made)
    picked = rng.sample(tensors, min(len(tensors), rng.randint(1, 3)))
    lines.append("out = torch.cat([" + ", ".join(f"{name}.reshape(-1)" for name in picked) + "])")
    return "\n".join(lines)


def _statement(rng: random.Random, names: dict[str, Tensor], tensors: list[str]) -> str:
    source = rng.choice(tensors)
    if rng.random() < 0.5 and len(tensors) < 12:
        return f"t{len(tensors)} = {_view(rng, source, names[source])}"
    return _write(rng, source, names[source])


def _index(rng: random.Random, tensor: Tensor) -> str:
    entries = [
        str(rng.randrange(n)) if rng.random() < 0.3 else _text(_slice(rng, n)) for n in tensor.shape
    ]
    return ", ".join(entries[: rng.randint(1, len(entries))]) if entries else "..."


def _text(part: slice) -> str:
    ends = ["" if end is None else str(end) for end in (part.start, part.stop, part.step)]
    return ":".join(ends)


def _view(rng: random.Random, name: str, tensor: Tensor) -> str:
    rank, count = tensor.ndim, tensor.numel()
    dim = rng.randrange(rank) if rank else 0
    size = tensor.shape[dim] if rank else 1
    choices = [
        f"{name}[{_index(rng, tensor)}]",
        f"{name}.narrow({dim}, {rng.randrange(size)}, 1)",
        f"{name}.select({dim}, {rng.randrange(size)})",
        f"{name}.view(-1)",
        f"{name}.reshape({count})",
        f"{name}.reshape(1, -1)",
        f"{name}.flatten()",
        f"{name}.transpose(0, {dim})",
        f"{name}.permute({', '.join(map(str, rng.sample(range(rank), rank)))})",
        f"{name}.T",
        f"{name}.unsqueeze({dim})",
        f"{name}.squeeze(0)",
        f"{name}.contiguous()",
        f"{name}.detach()",
        f"{name}.data",
        f"{name}.chunk(2, {dim})[{rng.randrange(2)}]",
        f"{name}.split(1, {dim})[-1]",
        f"{name}.unbind({dim})[{rng.randrange(size)}]",
        f"{name}.view_as({name})",
        f"{name}.to({name}.dtype)",
        f"{name}.real",
        f"{name}.expand({', '.join(map(str, tensor.shape)) or '()'})",
        f"{name}.diagonal()",
        f"{name}.unfold({dim}, 1, 1)",
        f"{name}[:]",
        f"{name}.clone()",
        f"torch.nn.functional.dropout({name}, 0.5, False)",
        f"torch.nn.Identity()({name})",
    ]
    return rng.choice(choices)


def _write(rng: random.Random, name: str, tensor: Tensor) -> str:
    value = f"x.reshape(-1)[{rng.randrange(6)}:][:{max(tensor.numel(), 1)}].reshape({name}.shape)"
    element = f"x[{rng.randrange(3)}, {rng.randrange(4)}]"
    index = _index(rng, tensor)
    choices = [
        f"{name}.add_({value})",
        f"{name} += {value}",
        f"{name}.copy_({value})",
        f"{name}.add_({element})",
        f"{name}.fill_({element})",
        f"{name}.zero_()",
        f"{name}.mul_(2)",
        f"{name}[{index}] = {element}",
        f"{name}[{index}] = 1.0",
        f"{name}[{index}] += {element}",
        f"{name}[{index}].add_({element})",
        f"{name}[{index}].zero_()",
        f"torch.add({value}, 1, out={name})",
        f"{name}.index_add_(0, torch.tensor([0]), {name}[:1] * 0.5)",
    ]
    return rng.choice(choices)


def depended(program: Program) -> np.ndarray:
    """(output, *input): which elements of the output change with which of the input."""
    x = torch.rand(SHAPE, dtype=torch.double) + 0.5
    before = program(x.clone())
    found = np.zeros((before.numel(), *SHAPE), dtype=bool)
    for position in np.ndindex(*SHAPE):
        other = x.clone()
        other[position] += 0.318
        found[(slice(None), *position)] = (program(other) != before).numpy()
    return found


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_answer_is_unsound_and_no_program_is_refused(chunk: int) -> None:
    for seed in range(chunk, COUNT, CHUNKS):
        program = Program(seed).double()
        truth = depended(program)
        if not truth.any():
            continue  # what it returns is a constant of the model, which has no report
        report = rfgraph.analyze(program, torch.zeros(SHAPE, dtype=torch.double), axes=(0, 1))
        said = np.zeros((2, len(truth), max(SHAPE)), dtype=bool)
        for output in range(len(truth)):
            for axis in range(2) if report.output.rfs else ():
                said[axis, output, report.output.reads(axis, (output,))] = True
        for axis in range(2):
            projected = truth.any(axis=2 - axis)
            claimed = said[axis][:, : SHAPE[axis]]
            assert not (projected & ~claimed).any(), (
                f"program {seed}, axis {axis}:\n{program.source}"
            )
