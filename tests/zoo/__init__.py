"""What needs torchvision: the part of the suite that runs where it imports."""

from __future__ import annotations

from functools import cache


@cache
def missing() -> str:
    """Why torchvision does not import here; "" where it does."""
    try:
        from tests.zoo import torchvision_shim
    except Exception as error:  # not installed, or a build that does not fit the installed torch
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert torchvision_shim
    return ""
