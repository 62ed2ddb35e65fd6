"""Numbers of double precision, in a model and beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def in_float64() -> Iterator[None]:
    """Also those that a forward makes, so that what is small is still seen."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
