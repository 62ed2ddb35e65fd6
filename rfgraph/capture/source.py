"""Which line of the model's own code runs now, or an error came from.

In: the call stack, or an error. Out: `file:line`, "" where there is none.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from types import FrameType

import torch
from torch import nn

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARIES = (
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    *(os.path.join(_PACKAGE, name) for name in os.listdir(_PACKAGE) if name != "gallery.py"),
)
_BEGINS = os.path.join(_PACKAGE, "capture", "__init__.py")
"""What calls a forward: further up is whoever asked for the analysis, who wrote none of the model."""
_OWN_FRAMES = 3  # this package's at least, below whatever asks for a source
_NOT_CODE = "<"  # <string>, <frozen ..>
_INSTALLED = "/site-packages/torch/"
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def source(own_frames: int = _OWN_FRAMES) -> str:
    """`file:line` of the innermost frame outside torch and rfgraph; the gallery holds models, too."""
    frame: FrameType | None = sys._getframe(own_frames)
    while frame is not None:
        file = frame.f_code.co_filename
        shown = _shown(file)
        if shown:
            return f"{shown}:{frame.f_lineno}"
        if file == _BEGINS:
            return ""
        frame = frame.f_back
    return ""


def source_of(error: BaseException) -> str:
    """`file:line` of the innermost frame of the model's own code that `error` passed through."""
    found, traceback = "", error.__traceback__
    while traceback is not None:
        shown = _shown(traceback.tb_frame.f_code.co_filename)
        if shown:
            found = f"{shown}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def module_in(error: BaseException, model: nn.Module) -> str:
    """The path of the innermost module of `model` whose code `error` passed through; "" for the model."""
    paths = {id(module): path for path, module in model.named_modules()}
    found, traceback = "", error.__traceback__
    while traceback is not None:
        inside = traceback.tb_frame.f_locals.get("self")
        found = paths.get(id(inside), found)
        traceback = traceback.tb_next
    return found


def source_in(stack_trace: str) -> str:
    """`file:line` of the innermost frame of the model's own code in the text of a traceback.

    It may have been written on another machine, where torch lay elsewhere.
    """
    found = _FRAME.findall(stack_trace)
    frames = [(name, line) for name, line in found if _INSTALLED not in name and _shown(name)]
    return f"{_shown(frames[-1][0])}:{frames[-1][1]}" if frames else ""


def is_ours(file: str) -> bool:
    """A file of this package, but for the models that it holds."""
    return file.startswith(_LIBRARIES[1:])


@cache
def _shown(file: str) -> str:
    """The bare name of a file of the model's own code; "" for libraries, and for what is no file."""
    is_own = not file.startswith(_LIBRARIES) and file[0] != _NOT_CODE
    return os.path.basename(file) if is_own else ""
