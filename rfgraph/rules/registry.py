"""The registry: `@rule` teaches an operator, and refuses to teach it twice.

In: a rule function and the spellings of its operator. Out: the vocabulary that capture and propagation look
operators up in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F

from rfgraph.graph.calls import python
from rfgraph.language.vocabulary import (
    Infer,
    Masks,
    Normalize,
    Operator,
    Rule,
    Signature,
    Spelling,
    Vocabulary,
)

VOCABULARY = Vocabulary(namespaces=(torch, F))
"""Every operator rfgraph knows."""


def rule(
    *targets: Spelling,
    name: str | None = None,
    signature: str | None = None,
    normalize: Normalize | None = None,
    infer: Infer | None = None,
    masks: Masks | None = None,
    values: Collection[str] | None = None,
    vocabulary: Vocabulary = VOCABULARY,
) -> Callable[[Rule], Rule]:
    """Teach rfgraph what an operator reads.

    The decorated function takes a `Node` and returns its `Read`s: what one output position reads of
    every operand that matters, dim by dim. `node.params` has the operator's arguments, bound and named.

    Args:
        targets: spellings of the operator: module classes, functions, names of tensor methods, and
            `"library::operator"` of `torch.ops`. A pair `(target, signature)` brings its own signature.
        name: canonical name in reports; default: the name of the first target.
        signature: argument names and defaults, as in a `def`; default: inspected. For a module class,
            names not passed in the call are its attributes (without a signature, all public ones).
        normalize: turns bound arguments into canonical ones.
        infer: the output shape; default: the operator is asked, on meta tensors.
        masks: positions of the output whose value the model fixes, such as those a causal mask fills.
        values: the arguments whose values the operator uses, where it asks the others for their shape,
            dtype or device alone.

    Raises:
        ValueError: there is a rule for that name or spelling already, or no target and no name.

    Example:
        >>> @rfgraph.rule(Blur)  # an nn.Module with attributes size, stride
        ... def blur(node):
        ...     window = Relation.window(node.params["size"], node.params["stride"])
        ...     return [Read(0, (along(0), along(1), along(2, window), along(3, window)))]
    """
    first = targets[0][0] if targets and isinstance(targets[0], tuple) else next(iter(targets), "")
    known = name or (first if isinstance(first, str) else first.__name__)  # type: ignore[union-attr]
    if not known:
        raise ValueError("a rule needs a target or a name")

    def teach(function: Rule) -> Rule:
        parsed = Signature.parse(signature) if signature is not None else None
        operator = Operator(known, function, parsed, normalize, infer, masks, values)
        vocabulary.add(operator, [target for target in targets if target is not None])
        return function

    return teach


def spellings(name: str, *others: Spelling) -> list[Spelling]:
    """Every spelling of `name`: torch's functions, in-place too, and methods; Python's; and `others`."""
    found: dict[Spelling, None] = {}
    for namespace in (torch, F, torch.special, torch.linalg, torch.fft):
        for spelled in (name, name + "_", name + "_copy"):
            function = getattr(namespace, spelled, None)
            if callable(function) and not isinstance(function, type):
                found[function] = None
    if hasattr(torch.Tensor, name):
        found[name] = None
    found.update(dict.fromkeys(python(name)))
    return [*found, *(other for other in others if other not in found)]
