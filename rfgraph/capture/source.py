"""Which line of the model's own code runs now, or an error came from.

In: the call stack, or an error. Out: `file:line`, "" where there is none.
"""

from __future__ import annotations

import os
import re
import sys

import torch

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARIES = (
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    *(os.path.join(_PACKAGE, name) for name in os.listdir(_PACKAGE) if name != "gallery.py"),
)
_NOT_CODE = "<"  # <string>, <frozen ..>
_INSTALLED = "/site-packages/torch/"
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def source() -> str:
    """`file:line` of the innermost frame outside torch and rfgraph; the gallery holds models, too."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_LIBRARIES) and name[0] != _NOT_CODE:
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def source_of(error: BaseException) -> str:
    """`file:line` of the innermost frame of the model's own code that `error` passed through."""
    found, traceback = "", error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if _is_own(name):
            found = f"{os.path.basename(name)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def source_in(stack_trace: str) -> str:
    """`file:line` of the innermost frame of the model's own code in the text of a traceback.

    It may have been written on another machine, where torch lay elsewhere.
    """
    found = _FRAME.findall(stack_trace)
    frames = [(name, line) for name, line in found if _is_own(name) and _INSTALLED not in name]
    return f"{os.path.basename(frames[-1][0])}:{frames[-1][1]}" if frames else ""


def _is_own(name: str) -> bool:
    return not name.startswith(_LIBRARIES) and name[0] != _NOT_CODE
