"""A module that keeps something, which another module names by this one."""

from __future__ import annotations

from typing import Any

HELD: list[Any] = []
