"""Draws values, spellings and variables, as text.

In: a random generator, the shape of the input. Out: statements that torch accepts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.hostile.program import NAMES, Program, Statement, run_text

Draw = Callable[["Drawer"], str]
LARGEST = 600  # elements of a variable
PLACES = (
    ("torch", torch),
    ("F", torch.nn.functional),
    ("torch.special", torch.special),
    ("torch.linalg", torch.linalg),
    ("torch.fft", torch.fft),
)


class Refused(Exception):
    """Nothing fits here."""


class Drawer:
    """Writes one program, statement by statement; each is tried on numbers as it is written."""

    def __init__(
        self, rng: random.Random, shape: tuple[int, ...], axes: tuple[int, ...] | None = None
    ) -> None:
        self.rng, self.shape, self.axes = rng, shape, axes
        self.statements: list[Statement] = []
        self.members: list[tuple[str, str]] = []
        self.names = 0
        self.env: dict[str, Any] = {}
        self._pre: list[str] = []
        self._may_have_written = False
        self._restart()

    def program(self) -> Program:
        return Program(self.shape, tuple(self.statements), tuple(self.members), self.axes)

    def add(self, operator: str, draw: Draw, tries: int = 6) -> bool:
        """Draw a statement until torch accepts one."""
        for _ in range(tries):
            self._pre, members, names = [], len(self.members), self.names
            self._may_have_written = False
            try:
                expression = draw(self)
                if self._accepts(operator, expression):
                    return True
            except Refused:
                pass
            except Exception:  # torch's word: a statement that it refuses is none
                if self._may_have_written:
                    self._restart()
            del self.members[members:]
            self.names = names
        return False

    def _accepts(self, operator: str, expression: str) -> bool:
        name = self.fresh()
        lines = [*self._pre, f"{name} = {expression}"]
        self._may_have_written = len(lines) > 1 or "_(" in expression or "out=" in expression
        self._run(lines, len(self.statements))
        value = self.env[name]
        while isinstance(value, tuple | list) and value:
            index = self.rng.randrange(len(value))
            lines[-1] += f"[{index}]"
            value = value[index]
        fits = isinstance(value, Tensor) and value.layout is torch.strided
        if not fits or value.numel() > LARGEST or value.ndim > 6:
            if self._may_have_written:
                self._restart()
            return False
        self.env[name] = value
        self.statements.append(Statement(name, tuple(lines), operator))
        return True

    def _restart(self) -> None:
        """As after the statements that were accepted."""
        torch.default_generator.manual_seed(0)
        x = torch.randn(self.shape)
        self.env = {**NAMES, "x": x, "self": SimpleNamespace()}
        for name, made in self.members:
            self._make(name, made)
        for count, statement in enumerate(self.statements):
            self._run(statement.lines, count)

    def _run(self, lines: Iterable[str], count: int) -> None:
        """The same random numbers whenever it runs: what torch takes may depend on them."""
        torch.default_generator.manual_seed(count)
        for line in lines:
            run_text(line, self.env)

    def _make(self, name: str, made: str) -> None:
        value = eval(made, self.env)
        setattr(self.env["self"], name, value.eval() if hasattr(value, "eval") else value)

    # --- names ----------------------------------------------------------------------------------

    def fresh(self) -> str:
        name = f"v{self.names}"
        self.names += 1
        return name

    def pre(self, line: str) -> None:
        """A line ahead of the statement."""
        self._pre.append(line)

    def member(self, made: str) -> str:
        """Something that the module holds: a module, a parameter, a buffer."""
        name = f"m{len(self.members)}"
        self._make(name, made)
        self.members.append((name, made))
        return f"self.{name}"

    def of(self, text: str) -> Any:
        return eval(text, self.env)

    # --- tensors --------------------------------------------------------------------------------

    def v(self, rank: int | None = None, least: int = 0, size: int | None = None) -> str:
        """A variable of floats; of this rank, put into it where there is none."""
        pool = [n for n, value in self._pool() if value.is_floating_point()]
        pool = [n for n in pool if not bool(self.env[n].isnan().any())] or ["x"]
        fits = [n for n in pool if self._fits(self.env[n].ndim, rank, least)]
        if not fits:
            return self._ranked(self.rng.choice(pool), least if rank is None else rank)
        late = fits[-4:]
        return self.rng.choice(late if self.chance(0.6) else fits)

    @staticmethod
    def _fits(ndim: int, rank: int | None, least: int) -> bool:
        return ndim >= least if rank is None else ndim == rank

    def _pool(self) -> list[tuple[str, Tensor]]:
        names = ["x", *(statement.name for statement in self.statements)]
        return [(name, self.env[name]) for name in names]

    def _ranked(self, name: str, rank: int) -> str:
        ndim = self.env[name].ndim
        if ndim > rank:
            spare = ndim - rank
            how = self.one_of(
                "flatten(0, {0})", "flatten(-{1}, -1)", "sum({2})", "mean({2})", "amax({2})"
            )
            text = f"{name}.{how.format(spare, spare + 1, tuple(range(spare)))}"
        else:
            text = f"{name}[{', '.join(['None'] * (rank - ndim))}]"
        made = self.fresh()
        self.pre(f"{made} = {text}")
        self.env[made] = self.of(text)
        return made

    def u(self) -> str:
        """Floats, at times of a narrower domain."""
        v = self.v()
        how = self.one_of("{}", "{}", "{}.sigmoid()", "({}.abs() + 1.5)", "{}.tanh()", "({} * 2)")
        return how.format(v)

    def i(self, rank: int | None = None) -> str:
        v = self.v(rank)
        return self.one_of(
            f"({v} * 3).long()", f"{v}.abs().ceil().int()", f"({v} * 4).to(torch.int16)"
        )

    def b(self, like: str | None = None) -> str:
        """Booleans of the shape of a variable, computed or constant, or broadcast to it."""
        v = like or self.v()
        shape = tuple(self.of(v).shape)
        count = self.of(v).numel()
        pattern = "".join(self.rng.choice("01") for _ in range(min(count, 24))) or "1"
        fixed = f"torch.tensor([c == '1' for c in '{pattern}'])"
        if count and len(pattern) == count:
            return self.one_of(f"({v} > 0)", f"{fixed}.view{shape if shape else '(())'}")
        last = shape[-1] if shape else 1
        row = [bool(self.rng.getrandbits(1)) for _ in range(last)]
        return self.one_of(f"({v} > 0)", f"torch.tensor({row}, dtype=torch.bool)")

    def c(self) -> str:
        v = self.v()
        return self.one_of(
            f"torch.complex({v}, {v}.tanh())", f"({v} * (1 - 2j))", f"torch.polar({v}.abs(), {v})"
        )

    def const(self, shape: Sequence[int], kind: str = "float") -> str:
        """A constant of the model: inline, a buffer, a parameter, a numpy array."""
        size = tuple(shape)
        count = 1
        for n in size:
            count *= n
        inline = f"torch.arange({float(count)!r}).view({size or '()'}) / 3 - 1"
        if kind == "zeros":
            inline = f"(torch.arange({count}) % 3 - 1).double().view({size or '()'})"
        made = (
            f"torch.randn({size})",
            f"nn.Parameter(torch.randn({size}))",
            f"nn.Buffer(torch.randn({size}) - 0.5)",
            f"nn.Buffer(torch.randn({size}).relu())",
        )
        return f"({inline})" if self.chance(0.3) else self.member(self.rng.choice(made))

    def same(self, v: str) -> str:
        """Floats of the same shape."""
        shape = self.of(v).shape
        pool = [n for n, t in self._pool() if t.is_floating_point() and t.shape == shape]
        if pool and self.chance(0.6):
            return self.rng.choice(pool)
        flipped = f"{v}.flip({self.rng.randrange(len(shape))})" if len(shape) else f"{v}.cos()"
        return flipped if self.chance(0.5) else self.const(shape)

    def w(self, v: str) -> str:
        """What is broadcast against it: a variable, one dim of another, a constant, a number."""
        shape = list(self.of(v).shape)
        how = self.rng.random()
        if how < 0.25:
            return self.same(v)
        if how < 0.35:
            return self.scalar()
        if how < 0.5:
            return self.v()
        kept = shape[self.rng.randint(0, len(shape)) :]
        kept = [1 if self.chance(0.3) else n for n in kept]
        if how < 0.6:
            return self.const(kept, "zeros")
        if how < 0.75 and shape:
            dim = self.rng.randrange(len(shape))
            return self.one_of(
                f"{v}.mean({dim}, keepdim=True)",
                f"{v}.narrow({dim}, 0, 1)",
                f"{v}.select({dim}, 0).unsqueeze({dim})",
            )
        return self.const(kept)

    # --- numbers --------------------------------------------------------------------------------

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def one_of(self, *options: str) -> str:
        return self.rng.choice(options)

    def int(self, n: int) -> str:
        """A whole number in some spelling."""
        how = self.rng.random()
        if how < 0.8:
            return str(n)
        if how < 0.9:
            return f"np.int64({n})"
        return self.one_of(
            f"torch.tensor({n})", f"int(torch.tensor({n}))", f"torch.tensor({n}).item()"
        )

    def near(self, low: int, high: int) -> str:
        return self.int(self.rng.randint(low, high))

    def dim(self, v: str, extra: int = 0) -> str:
        """One dim of it, from either end."""
        ndim = self.of(v).ndim + extra
        dim = self.rng.randrange(ndim) if ndim else 0
        return self.int(dim if self.chance(0.6) else dim - max(ndim, 1))

    def dims(self, v: str, least: int = 0) -> str:
        ndim = self.of(v).ndim
        if self.chance(0.4) or ndim < 2:
            return self.dim(v)
        count = self.rng.randint(max(least, 1), min(3, ndim))
        dims = self.rng.sample(range(ndim), count)
        return self.seq([d if self.chance(0.6) else d - ndim for d in dims])

    def seq(self, numbers: Sequence[int]) -> str:
        """Numbers, as any sequence that people pass."""
        each = [str(n) if self.chance(0.93) else f"np.int64({n})" for n in numbers]
        listed = ", ".join(each)
        comma = "," if len(each) == 1 else ""
        how = self.rng.random()
        if how < 0.45:
            return f"({listed}{comma})"
        if how < 0.85:
            return f"[{listed}]"
        return f"torch.Size([{listed}])"

    def each(self, count: int, low: int, high: int) -> str:
        """One number for all, or one for each of so many dims."""
        if self.chance(0.45):
            return self.near(low, high)
        return self.seq([self.rng.randint(low, high) for _ in range(count)])

    def scalar(self) -> str:
        return self.one_of(
            "2.5",
            "-1.5",
            "2",
            "0.5",
            "1",
            "0",
            "np.float64(1.5)",
            "torch.tensor(0.75)",
            "True",
            "-3",
        )

    def bool(self) -> str:
        return self.one_of("True", "False", "True", "False", "1", "0")

    # --- calls ----------------------------------------------------------------------------------

    def call(self, name: str, first: str, rest: Sequence[tuple[str, str]], only: str = "") -> str:
        """A call of that name, in a spelling that torch has: `rest` are names and texts of arguments."""
        by_name = False
        written = []
        for key, text in rest:
            by_name = by_name or self.chance(0.35)
            written.append(f"{key}={text}" if by_name and key else text)
        others = ", ".join(written)
        spelled = [
            f"{place}.{name}({_joined(first, others)})"
            for place, held in PLACES
            if _has(held, name)
        ]
        if all("=" in text for text in written) and self.chance(0.1):
            spelled = [text.replace(f"({first}", f"(input={first}") for text in spelled]
        if hasattr(torch.Tensor, name):
            spelled.append(f"{first}.{name}({others})")
        if hasattr(torch.Tensor, name + "_") and self.chance(0.4):
            spelled.append(f"{first}.clone().{name}_({others})")
        if spelled and hasattr(torch, name) and self.chance(0.05):
            plain = f"torch.{name}({_joined(first, others)}"
            result = self.of(plain + ")")
            if isinstance(result, Tensor):
                shape = (0,) if self.chance(0.04) else tuple(result.shape)
                spelled = [f"{plain}, out=torch.empty({shape}, dtype={result.dtype}))"]
        spelled = [text for text in spelled if text.startswith(only)] or spelled
        if not spelled:
            raise Refused(name)
        return self.rng.choice(spelled)


def _joined(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


def _has(place: Any, name: str) -> bool:
    return callable(getattr(place, name, None))
