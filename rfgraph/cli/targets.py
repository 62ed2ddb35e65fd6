"""What a command is about: the model that TARGET names, its arguments, the inputs of its forward.

In: text from the command line. Out: a module, shapes and values.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from rfgraph.capture.arguments import Inputs, Value, value
from rfgraph.capture.programs import Model
from rfgraph.errors import InputError, nearest_names


def inputs_of(texts: Sequence[str]) -> Inputs:
    """None, one shape, or shapes and values by name; `feats.0` and `batch.image` are within an argument.

    Raises:
        InputError: neither a shape nor a value, a name twice, numbers with gaps.
    """
    if not texts:
        return None
    named = [text.partition("=") for text in texts]
    if len(texts) == 1 and not named[0][1]:
        return integers(texts[0], "--input")
    if not all(equals for _, equals, _ in named):
        raise InputError(
            "several --input need names: --input image=1,3,64,64 --input mask=1,1,64,64"
        )
    tree: dict[str, object] = {}
    for name, _, text in named:
        is_value = name.endswith(":")
        path = name.removesuffix(":")
        _put(tree, path, _literal(path, text) if is_value else integers(text, "--input"))
    return {name: _nested(entry, name) for name, entry in tree.items()}


def _literal(name: str, text: str) -> Value:
    try:
        return value(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InputError(
            f"--input {name}:= takes a Python literal, as in {name}:=True or {name}:=\"'text'\", got {text!r}"
        ) from None


def _put(tree: dict[str, Any], path: str, entry: Inputs) -> None:
    *above, last = path.split(".")
    for part in above:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise InputError(f"--input gives {part!r} itself, and {path!r} within it")
    if last in tree:
        within = " and what is within it" if isinstance(tree[last], dict) else " twice"
        raise InputError(f"--input gives {path!r}{within}")
    tree[last] = entry


def _nested(entry: object, path: str) -> Inputs:
    """Parts by number are a list, by name a dict."""
    if not isinstance(entry, dict):
        return entry
    parts = {name: _nested(part, f"{path}.{name}") for name, part in entry.items()}
    if not all(name.isdecimal() for name in parts):
        return parts
    numbers = [str(number) for number in range(len(parts))]
    if set(numbers) != set(parts):
        missing = next(number for number in numbers if number not in parts)
        raise InputError(f"--input gives parts of {path!r} by number, and no {path}.{missing}")
    return [parts[number] for number in numbers]


def integers(text: str, option: str) -> tuple[int, ...]:
    """`1,3,224` as the value of an option."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} takes integers joined by commas, got {text!r}") from None


def arguments_of(texts: Sequence[str]) -> dict[str, object]:
    """`depth=5` gives the integer 5, `mode=bilinear` the string."""
    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--arg takes key=value, got {text!r}")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found


def load(target: str, arguments: dict[str, object]) -> Model:
    """The model that TARGET names; the path of a `.pt2` file is one as it is.

    Raises:
        InputError: there is none, or it is none.
    """
    if target.endswith(".pt2"):
        if arguments:
            raise InputError(f"{target} is an exported program already: it takes no --arg")
        return Path(target)
    place, colon, name = target.rpartition(":")
    if not colon or not name or not place:
        raise InputError(
            "TARGET is package.module:callable, path/to/file.py:callable or the path of a .pt2 file, got "
            f"{target!r}"
        )
    found: Any = _import(place)
    for part in name.split("."):
        if not hasattr(found, part):
            near = nearest_names(part, (n for n in dir(found) if not n.startswith("_")))
            raise InputError(f"{place} has no {part!r}{near}")
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module):
        if arguments:
            raise InputError(f"{target} is a module already: it takes no --arg")
        return found
    if not callable(found):
        raise InputError(f"{target} is neither a module nor a callable that returns one")
    try:
        made: Model = found(**arguments)
        return made
    except Exception as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise InputError(f"{target}({shown}) failed: {type(error).__name__}: {error}") from error


def _import(place: str) -> ModuleType:
    path = Path(place)
    try:
        if path.suffix == ".py":
            return _run_file(path)
        sys.path.insert(0, "")  # as `python -m` does: models live in the working directory
        try:
            return importlib.import_module(place)
        finally:
            sys.path.remove("")
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot import {place}: {type(error).__name__}: {error}") from error


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
