"""A forward in which nothing is compiled: what it would compile runs as it is written.

In: nothing. Out: a context, for whoever holds the guard's lock: it changes what all threads see. Dynamo would
trace the tracer, for a minute, and warn of what it meets there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def uncompiled() -> Iterator[None]:
    """Functions that `torch.compile` has made, or makes in the meantime, run as they are written.

    Dynamo is not loaded for it, which takes seconds.
    """
    compile_: Callable[..., Any] = torch.compile
    with ExitStack() as stack:

        def eagerly(*args: Any, **kwargs: Any) -> Any:
            stack.enter_context(_eager())
            return compile_(*args, **kwargs)

        if "torch._dynamo" in sys.modules:
            stack.enter_context(_eager())
        else:
            stack.callback(setattr, torch, "compile", compile_)
            torch.compile = eagerly
        yield


def _eager() -> Any:
    return torch.compiler.set_stance("force_eager")
