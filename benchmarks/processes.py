"""A measurement in a process of its own, so that its peak memory, torch included, is its own.

In: arguments of `speed.py`. Out: what it printed as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 500  # MB


def peak_megabytes() -> float:
    """The most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, kilobytes here


def in_own_process(*arguments: str) -> dict[str, Any]:
    """What `speed.py` answers to these arguments in a fresh interpreter."""
    script = Path(__file__).with_name("speed.py")
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
