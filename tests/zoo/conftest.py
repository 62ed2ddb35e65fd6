"""Tests on torchvision's models and compiled operators: left out where torchvision does not import."""

from __future__ import annotations

from tests.zoo import missing

collect_ignore_glob = ["test_*.py"] if missing() else []
