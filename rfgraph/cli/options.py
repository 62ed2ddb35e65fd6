"""What several commands take: the model, its inputs, the tracked dims."""

from __future__ import annotations

from typing import Annotated

import typer

Target = Annotated[
    str,
    typer.Argument(
        help="A model: package.module:callable or path/to/file.py:callable, or a .pt2 file."
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="A shape, 1,3,224,224 or name=1,3,224,224; of a list feats.0=..., of a dict batch.image=...; "
        "a Python literal flag:=True. Repeatable.",
    ),
]
Arguments = Annotated[
    list[str] | None, typer.Option("--arg", help="key=value for the callable. Repeatable.")
]
Dims = Annotated[str | None, typer.Option(help="Tracked dims, as in 2,3. Default: from 2 on.")]
OnUnknown = Annotated[
    str, typer.Option(help="For unknown operators: 'raise', 'whole' (they read all) or 'measure'.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
