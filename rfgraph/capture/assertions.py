"""Assertions about values: branches of which one side does nothing but raise.

In: the model's code that asks for the truth of a tensor. Out: the truth by which it goes on. A capture has no
values: it takes an assertion to hold, and says so.
"""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from types import CodeType, FrameType

from rfgraph.capture.source import is_ours

_STRAIGHT = (
    *(
        "LOAD_",
        "PUSH_NULL",
        "PRECALL",
        "CALL",
        "KW_NAMES",
        "BUILD_",
        "FORMAT_",
        "CONVERT_",
        "BINARY_",
    ),
    *(
        "COMPARE_OP",
        "UNARY_",
        "COPY",
        "SWAP",
        "NOP",
        "TO_BOOL",
        "EXTENDED_ARG",
        "STORE_FAST",
        "POP_TOP",
    ),
)
"""How instructions begin that decide nothing, as those of a message do."""


def passing() -> bool | None:
    """The truth by which the model's code goes on, where it raises by the other; None where both go on."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else _passing(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=256)
def _passing(code: CodeType, offset: int) -> bool | None:
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    at = next((n for n, step in enumerate(steps) if step.offset == offset), len(steps))
    at += at < len(steps) and steps[at].opname == "TO_BOOL"
    if at >= len(steps) - 1 or _is_caught(code, offset):
        return None
    jump = steps[at].opname
    if not (jump.startswith("POP_JUMP_") and jump.endswith(("_IF_TRUE", "_IF_FALSE"))):
        return None
    jumps_by = jump.endswith("_IF_TRUE")
    there = next(n for n, step in enumerate(steps) if step.offset == steps[at].argval)
    if _raises(steps[at + 1 :]):
        return None if _raises(steps[there:]) else jumps_by
    return not jumps_by if _raises(steps[there:]) else None


def _raises(steps: list[dis.Instruction]) -> bool:
    """Whatever comes, an error is made and raised."""
    for step in steps:
        if step.opname in ("RAISE_VARARGS", "LOAD_ASSERTION_ERROR"):
            return True
        if not step.opname.startswith(_STRAIGHT):
            return False
    return False


def _is_caught(code: CodeType, offset: int) -> bool:
    """The same function may catch what is raised; leaving a `with` does not count."""
    entries = getattr(dis.Bytecode(code), "exception_entries", None)
    if entries is None:  # before Python 3.11
        return any(step.opname == "SETUP_FINALLY" for step in dis.get_instructions(code))
    names = {step.offset: step.opname for step in dis.get_instructions(code)}
    inside = [entry.target for entry in entries if entry.start <= offset < entry.end]
    return any(names.get(target + 2) != "WITH_EXCEPT_START" for target in inside)
