"""Calls that are more than a name and arguments: layers with sizes that must fit, items, writes, recurrences.

In: a drawer. Out: the text of an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.hostile.drawer import Draw, Drawer, Refused
from tests.hostile.table import SPECS

SPECIAL: dict[str, Draw] = {}


def special(*names: str) -> Callable[[Callable[[Drawer, str], str]], Callable[[Drawer, str], str]]:
    def kept(draw: Callable[[Drawer, str], str]) -> Callable[[Drawer, str], str]:
        for name in names:
            SPECIAL[name] = lambda g, name=name: draw(g, name)  # type: ignore[misc]
        return draw

    return kept


def _keywords(g: Drawer, **options: str) -> str:
    """Some of these, by name."""
    return "".join(f", {name}={text}" for name, text in options.items() if g.chance(0.55))


# --- layers -----------------------------------------------------------------------------------------


@special("conv1d", "conv2d", "conv3d")
def _conv(g: Drawer, name: str) -> str:
    n = int(name[4])
    v = g.v(n + 2)
    channels = g.of(v).shape[1]
    groups = g.rng.choice([k for k in range(1, channels + 1) if channels % k == 0] or [1])
    outs = groups * g.rng.randint(1, 2)
    kernel = [g.rng.randint(1, 4) for _ in range(n)]
    options = _keywords(
        g,
        stride=g.each(n, 1, 3),
        padding=g.one_of(g.each(n, 0, 3), "'same'", "'valid'"),
        dilation=g.each(n, 1, 2),
    )
    if g.chance(0.4):
        weight = g.const((outs, channels // groups, *kernel))
        how = g.one_of("F", "torch")
        return f"{how}.{name}({v}, {weight}{options}, groups={groups})"
    options += _keywords(
        g, padding_mode=g.one_of("'reflect'", "'circular'", "'replicate'"), bias="False"
    )
    made = g.member(f"nn.Conv{n}d({channels}, {outs}, {g.seq(kernel)}{options}, groups={groups})")
    return f"{made}({v})"


@special("conv_tbc")
def _conv_tbc(g: Drawer, name: str) -> str:
    v = g.v(3)
    kernel, outs = g.rng.randint(1, 3), g.rng.randint(1, 2)
    weight, bias = g.const((kernel, g.of(v).shape[2], outs)), g.const((outs,))
    return f"torch.conv_tbc({v}, {weight}, {bias}{_keywords(g, pad=g.one_of('0', '1', '2'))})"


@special("istft")
def _istft(g: Drawer, name: str) -> str:
    v = g.v(g.rng.randint(2, 3))
    bins = g.of(v).shape[-2]
    n_fft = g.rng.choice([max(2 * bins - 2, 1), 2 * bins - 1]) if bins else 1
    options = _keywords(
        g,
        hop_length=g.one_of("1", "2", "3"),
        window=g.const((n_fft,)),
        center=g.one_of("True", "False"),
        length=g.one_of("3", "8"),
    )
    return f"torch.complex({v}, {v}).istft({n_fft}{options})"


@special("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(g: Drawer, name: str) -> str:
    n = int(name[-2])
    v = g.v(n + 2)
    channels = g.of(v).shape[1]
    kernel = [g.rng.randint(1, 4) for _ in range(n)]
    options = _keywords(
        g,
        stride=g.each(n, 1, 3),
        padding=g.each(n, 0, 2),
        output_padding=g.each(n, 0, 1),
        dilation=g.each(n, 1, 2),
    )
    if g.chance(0.5):
        weight = g.const((channels, 2, *kernel))
        return f"{g.one_of('F', 'torch')}.{name}({v}, {weight}{options})"
    made = g.member(f"nn.ConvTranspose{n}d({channels}, 2, {g.seq(kernel)}{options})")
    return f"{made}({v})"


@special(*(f"{kind}_pool{n}d" for kind in ("avg", "max", "lp") for n in (1, 2, 3)))
def _pool(g: Drawer, name: str) -> str:
    kind, n = name[:3].rstrip("_"), int(name[-2])
    v = g.v(n + 2)
    kernel = g.each(n, 1, 3)
    options = _keywords(
        g, stride=g.each(n, 1, 3), ceil_mode=g.bool() if kind == "lp" else g.one_of("True", "False")
    )
    if kind != "lp":
        options += _keywords(g, padding=g.each(n, 0, 1))
    if kind == "max":
        options += _keywords(g, dilation=g.each(n, 1, 2))
    if kind == "avg":
        options += _keywords(g, count_include_pad="False")
    power = "2.0, " if kind == "lp" else ""
    title = {"avg": "Avg", "max": "Max", "lp": "LP"}[kind]
    if g.chance(0.4):
        return f"{g.member(f'nn.{title}Pool{n}d({power}{kernel}{options})')}({v})"
    return f"F.{name}({v}, {power}{kernel}{options})"


@special(*(f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)))
def _adaptive(g: Drawer, name: str) -> str:
    n = int(name[-2])
    v = g.v(n + 2)
    size = g.one_of(g.each(n, 1, 4), "1", "None" if n > 1 else "1")
    if n > 1 and g.chance(0.2):
        size = f"({', '.join(g.one_of('None', '2', '3') for _ in range(n))})"
    if g.chance(0.4):
        title = "".join(part.capitalize() for part in name[:-2].split("_"))
        return f"{g.member(f'nn.{title}{n}d({size})')}({v})"
    return f"F.{name}({v}, {size})"


@special("batch_norm", "instance_norm", "instance_norm1d", "instance_norm2d", "instance_norm3d")
def _norm(g: Drawer, name: str) -> str:
    n = int(name[-2]) if name[-1] == "d" else g.rng.randint(1, 3)
    v = g.v(n + 2)
    channels = g.of(v).shape[1]
    title = "InstanceNorm" if "instance" in name else "BatchNorm"
    if name == "instance_norm" or (name == "batch_norm" and g.chance(0.4)):
        if name == "instance_norm":
            return f"F.instance_norm({v})"
        stats = f"{g.const((channels,))}, {g.const((channels,))}.abs() + 0.5"
        return f"F.batch_norm({v}, {stats}{_keywords(g, training='False')})"
    options = _keywords(g, affine="True", track_running_stats=g.one_of("True", "False"))
    return f"{g.member(f'nn.{title}{n}d({channels}{options})')}({v})"


@special("group_norm")
def _group_norm(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    channels = g.of(v).shape[1]
    groups = g.rng.choice([k for k in range(1, channels + 1) if channels % k == 0] or [1])
    made = g.member(f"nn.GroupNorm({groups}, {channels})")
    return g.one_of(
        f"{made}({v})", f"F.group_norm({v}, {groups})", f"torch.group_norm({v}, {groups})"
    )


@special("linear")
def _linear(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    size = g.of(v).shape[-1]
    if g.chance(0.5):
        return f"{g.member(f'nn.Linear({size}, 3)')}({v})"
    return f"F.linear({v}, {g.const((2, size))})"


@special("bilinear")
def _bilinear(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    size = g.of(v).shape[-1]
    made = g.member(f"nn.Bilinear({size}, {size}, 2)")
    return f"{made}({v}, {g.same(v)})"


@special("prelu")
def _prelu(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    channels = g.of(v).shape[1]
    count = g.one_of("1", str(channels))
    return g.one_of(
        f"{g.member(f'nn.PReLU({count})')}({v})", f"F.prelu({v}, torch.full(({count},), 0.3))"
    )


@special("pad", "constant_pad", "reflection_pad", "replication_pad", "circular_pad")
def _pad(g: Drawer, name: str) -> str:
    mode = (
        {"pad": "constant"}.get(name, name.split("_")[0])
        .replace("reflection", "reflect")
        .replace("replication", "replicate")
    )
    v = g.v(least=1) if mode == "constant" else g.v(g.rng.randint(3, 5))
    most = g.of(v).ndim if mode == "constant" else g.of(v).ndim - 2
    count = g.rng.randint(1, most) if mode == "constant" else most
    sides = [g.rng.randint(-1 if g.chance(0.4) else 0, 3) for _ in range(2 * count)]
    title = {
        "reflect": "Reflection",
        "constant": "Constant",
        "replicate": "Replication",
        "circular": "Circular",
    }[mode]
    if count <= 3 and name != "pad" and g.chance(0.7):
        value = ", 0.5" if mode == "constant" else ""
        made = g.member(f"nn.{title}Pad{count}d({g.seq(sides)}{value})")
        return f"{made}({v})"
    if mode == "constant":
        return f"F.pad({v}, {g.seq(sides)}{_keywords(g, value='1.5')})"
    return f"F.pad({v}, {g.seq(sides)}, mode='{mode}')"


@special("interpolate")
def _interpolate(g: Drawer, name: str) -> str:
    n = g.rng.randint(1, 3)
    v = g.v(n + 2)
    linear = ("", "linear", "bilinear", "trilinear")[n]
    mode = g.one_of("nearest", "nearest-exact", linear, "bicubic" if n == 2 else linear, "area")
    fine = mode in (linear, "bicubic")
    options = f", mode='{mode}'"
    if g.chance(0.5):
        options += f", size={g.each(n, 1, 9)}"
    else:
        options += f", scale_factor={g.one_of('2', '0.5', '1.5', '3', '0.75', '1.0', '2.0')}"
        options += _keywords(g, recompute_scale_factor="True")
    if fine:
        options += _keywords(g, align_corners=g.one_of("True", "False"))
        if n == 2:
            options += _keywords(g, antialias="True")
    if g.chance(0.3) and "antialias" not in options:
        return f"{g.member(f'nn.Upsample({options[2:]})')}({v})"
    return f"F.interpolate({v}{options})"


@special("im2col")
def _im2col(g: Drawer, name: str) -> str:
    options = _keywords(
        g, dilation=g.each(2, 1, 2), padding=g.each(2, 0, 1), stride=g.each(2, 1, 2)
    )
    kernel = g.each(2, 1, 3)
    v = g.v(4)
    if g.chance(0.4):
        return f"{g.member(f'nn.Unfold({kernel}{options})')}({v})"
    return f"F.unfold({v}, {kernel}{options})"


@special("col2im")
def _col2im(g: Drawer, name: str) -> str:
    v = g.v(4)
    h, w = g.of(v).shape[2:]
    kernel, options = g.each(2, 1, 3), _keywords(g, padding=g.each(2, 0, 1))
    return f"F.fold(F.unfold({v}, {kernel}{options}), ({h}, {w}), {kernel}{options})"


@special("embedding")
def _embedding(g: Drawer, name: str) -> str:
    v = g.v()
    index = f"({v}.abs() * 3).long().clamp(max=6)"
    return g.one_of(
        f"{g.member('nn.Embedding(7, 3)')}({index})", f"F.embedding({index}, {g.const((7, 2))})"
    )


@special("lstm", "gru", "rnn")
def _recurrent(g: Drawer, name: str) -> str:
    v = g.v(3)
    size = g.of(v).shape[-1]
    options = _keywords(g, batch_first="True", bidirectional="True", num_layers="2")
    made = g.member(f"nn.{name.upper()}({size}, 2{options})")
    return f"{made}({v})"


@special("lstm_cell", "gru_cell", "rnn_cell")
def _cell(g: Drawer, name: str) -> str:
    v = g.v(2)
    rows, size = g.of(v).shape
    title = name[:-5].upper() + "Cell"
    made = g.member(f"nn.{title}({size}, 2)")
    h = f"torch.zeros({rows}, 2)"
    state = f", ({h}, {h} + 1)" if name == "lstm_cell" else f", {h}"
    return f"{made}({v}{state if g.chance(0.5) else ''})"


@special("multi_head_attention")
def _attention(g: Drawer, name: str) -> str:
    v = g.v(3)
    size = g.of(v).shape[-1]
    made = g.member(f"nn.MultiheadAttention({size}, 1, batch_first={g.one_of('True', 'False')})")
    options = _keywords(g, need_weights="False")
    return f"{made}({v}, {v}, {g.one_of(v, f'{v} * 2')}{options})"


@special("scaled_dot_product_attention")
def _sdpa(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    tokens = g.of(v).shape[-2]
    key = g.one_of(v, f"{v} * 2")
    if g.chance(0.3):
        return f"F.scaled_dot_product_attention({v}, {key}, {v}, is_causal=True)"
    mask = g.one_of(
        f"torch.ones({tokens}, {tokens}).tril(1).bool()",
        f"torch.eye({tokens}).roll(1, 0) + 0.5",
        f"torch.zeros({tokens}, {tokens}).masked_fill(torch.ones({tokens}, {tokens}).triu(1).bool(), -torch.inf)",
    )
    options = _keywords(g, attn_mask=mask)
    return f"F.scaled_dot_product_attention({v}, {key}, {v}{options})"


@special("grid_sample")
def _grid_sample(g: Drawer, name: str) -> str:
    v = g.v(4)
    batch = g.of(v).shape[0]
    grid = g.one_of(
        f"torch.rand({batch}, 3, 2, 2) - 0.5",
        f"{v}.mean((1, 2))[:, :2, None, None].tanh().expand(-1, -1, 2, 2)",
    )
    return f"F.grid_sample({v}, {grid}, align_corners={g.one_of('True', 'False')})"


@special("affine_grid")
def _affine_grid(g: Drawer, name: str) -> str:
    v = g.v()
    theta = f"{v}.mean() * torch.ones(1, 2, 3)"
    return f"F.affine_grid({theta}, (1, 1, 2, 3), align_corners=False)"


@special("cross_entropy", "nll_loss")
def _classes(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    shape = tuple(g.of(v).shape)
    rest = (shape[0], *shape[2:])
    target = f"torch.zeros({rest}, dtype=torch.long)"
    options = _keywords(g, reduction=g.one_of("'none'", "'sum'"))
    return f"F.{name}({v}, {target}{options})"


@special("binary_cross_entropy")
def _bce(g: Drawer, name: str) -> str:
    v = g.v()
    options = _keywords(g, reduction=g.one_of("'none'", "'sum'"))
    return f"F.binary_cross_entropy({v}.sigmoid(), {g.same(v)}.sigmoid(){options})"


# --- products ---------------------------------------------------------------------------------------


@special("einsum")
def _einsum(g: Drawer, name: str) -> str:
    v = g.v(g.rng.randint(1, 4))
    shape = g.of(v).shape
    letters = "abcd"[: len(shape)]
    kept = "".join(c for c in letters if g.chance(0.6))
    out = "".join(g.rng.sample(kept, len(kept)))
    how = g.rng.random()
    if how < 0.3:
        return f"torch.einsum('{letters} -> {out}', {v})"
    if how < 0.6:
        other = "".join(c for c in letters if g.chance(0.6)) or letters[:1]
        made = g.const([shape[letters.index(c)] for c in other])
        return f"torch.einsum('{letters},{other}->{out}', {v}, {made})"
    if how < 0.8:
        return (
            f"torch.einsum('...{letters[-1]},{letters[-1]}e->...e', {v}, {g.const((shape[-1], 2))})"
        )
    return f"torch.einsum('{letters},{letters}->{out}', [{v}, {g.same(v)}])"


@special("tensordot")
def _tensordot(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    dim = g.rng.randrange(g.of(v).ndim)
    made = g.const((g.of(v).shape[dim], 2))
    return f"torch.tensordot({v}, {g.one_of(made)}, dims=([{dim}], [0]))"


@special("addmm", "addbmm", "baddbmm", "addmv", "addr")
def _add_product(g: Drawer, name: str) -> str:
    options = _keywords(g, beta="0.5", alpha="2")
    if name == "addr":
        v = g.v(1)
        n = g.of(v).shape[0]
        return f"torch.addr({g.const((n, n))}, {v}, {g.same(v)}{options})"
    v = g.v(3 if "bmm" in name else 2)
    shape = tuple(g.of(v).shape)
    if name == "addmv":
        return f"torch.addmv({g.const(shape[:1])}, {v}, {g.const(shape[-1:])}{options})"
    right = g.const((*shape[:-2], shape[-1], 2))
    added = g.const((shape[-2], 2) if name in ("addmm", "addbmm") else (*shape[:-1], 2))
    spelled = (
        f"torch.{name}({added}, {v}, {right}{options})",
        f"{added}.{name}({v}, {right}{options})",
    )
    return g.one_of(*spelled)


@special("cholesky_solve")
def _cholesky_solve(g: Drawer, name: str) -> str:
    v = g.v(2)
    return f"torch.cholesky_solve({v}, torch.eye({g.of(v).shape[0]}) * 2)"


@special("cholesky")
def _cholesky(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    return f"torch.linalg.cholesky({v} @ {v}.mT + 2 * torch.eye({g.of(v).shape[-2]}))"


# --- items and writes -------------------------------------------------------------------------------


def index(g: Drawer, v: str) -> str:
    """What stands between the brackets, for a variable."""
    shape = list(g.of(v).shape)
    if g.chance(0.07):
        return g.one_of(
            "True", "...", "None", "()", "False", f"{v} > 0" if g.chance(0.3) else "..."
        )
    dims = shape[: g.rng.randint(0, len(shape))]
    lists = g.rng.randint(1, 3)
    parts = [_entry(g, size, lists) for size in dims]
    if g.chance(0.4):
        at = g.rng.randint(0, len(parts))
        behind = shape[len(shape) - (len(parts) - at) :] if at < len(parts) else []
        parts[at:] = ["...", *(_entry(g, size, lists) for size in behind)]
    if g.chance(0.2):
        parts.insert(g.rng.randint(0, len(parts)), g.one_of("None", "None", "True"))
    if not parts:
        return "..."
    return ", ".join(parts) if len(parts) > 1 or g.chance(0.8) else f"({parts[0]},)"


def _entry(g: Drawer, size: int, lists: int) -> str:
    how = g.rng.random()
    place = g.rng.randrange(size) if size else 0
    if how < 0.5:
        ends = [g.rng.randint(-size - 1, size + 2) if g.chance(0.6) else None for _ in range(2)]
        step = g.rng.choice(("", "", ":2", ":3"))
        return ":".join("" if end is None else str(end) for end in ends) + step
    if how < 0.62:
        return g.int(place if g.chance(0.6) else place - size)
    if how < 0.9:
        picks = (
            [g.rng.randrange(size) - (size if g.chance(0.2) else 0) for _ in range(lists)]
            if size
            else []
        )
        return g.one_of(
            f"{picks}", f"torch.tensor({picks}, dtype=torch.long)", f"np.array({picks}, dtype=int)"
        )
    mask = [g.chance(0.6) for _ in range(size)]
    return g.one_of(f"{mask}", f"torch.tensor({mask}, dtype=torch.bool)")


@special("getitem")
def _getitem(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    return f"{v}[{index(g, v)}]"


@special("setitem")
def _setitem(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    part = index(g, v)
    target = v
    if v == "x" or g.chance(0.8):
        target = g.fresh()
        g.pre(
            f"{target} = {g.one_of(f'{v}.clone()', f'{v} * 1', f'torch.zeros_like({v})', f'{v}.new_zeros({v}.shape)')}"
        )
    shape = tuple(g.of(f"{v}[{part}]").shape)
    value = g.one_of(
        "0",
        "2.5",
        f"{g.v()}.mean()",
        f"{v}[{part}] * 2",
        f"{v}[{part}].flip(0)",
        g.const(shape[1:]),
    )
    if shape and g.chance(0.2):
        value = f"{v}[{part}][None]"
    how = g.one_of("=", "=", "=", "+=", "*=")
    g.pre(f"{target}[{part}] {how} {value}")
    return f"{target} * 1"


@special("index_put")
def _index_put(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    size = g.of(v).shape[0]
    picks = [g.rng.randrange(size) for _ in range(2)] if size else []
    value = g.one_of(f"{v}[:2]", f"{v}.mean()", "torch.tensor(1.5)")
    where = g.one_of(f"torch.tensor({picks}, dtype=torch.long)", f"{v} > 0")
    if ">" in where:
        value = f"{v}.mean()"
    return g.call(
        "index_put",
        v,
        [("", f"({where},)"), ("", value), *([("", "True")] if g.chance(0.3) else [])],
    )


@special("scatter", "scatter_add", "scatter_reduce")
def _scatter(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    shape = tuple(g.of(v).shape)
    dim = g.rng.randrange(len(shape))
    count = 1
    for n in shape:
        count *= n
    constant = (
        f"(torch.arange({count}) * {g.rng.choice((1, 3))} % {max(shape[dim], 1)}).view({shape})"
    )
    where = constant if g.chance(0.7) else f"({v}.abs() * 3).long() % {max(shape[dim], 1)}"
    source = g.same(v)
    rest = [("dim", g.int(dim)), ("index", where), ("src", source)]
    if name == "scatter" and g.chance(0.3):
        rest[2] = ("value", "1.5")
    if name == "scatter_reduce":
        rest.append(("reduce", g.one_of("'sum'", "'amax'", "'mean'")))
    return g.call(name, v, rest)


@special("index_select", "gather", "take", "take_along_dim")
def _of_the_model(g: Drawer, name: str) -> str:
    """Computed places, of a tensor of the model or of a variable."""
    v = g.v(1)
    made = g.one_of(g.const((3, 5)), f"{v}[:2, None] * torch.ones(2, 3)")
    dim = g.rng.choice((0, 1, -1))
    rank = 1 if name == "index_select" else 2
    index = f"({v}{'' if rank == 1 else '[:2, None]'}.abs() * 2).long() % 2"
    if name == "take":
        places = g.one_of("[[0, -1], [-1, 0]]", "0", "[0]", "[]")
        if g.chance(0.5):
            return f"{g.v()}.take(torch.tensor({places}, dtype=torch.long))"
        return f"torch.take({made}, {index})"
    rest = [("dim", g.int(dim)), ("index", index)]
    if name == "take_along_dim":
        rest = [("indices", f"{index}.expand(2, 1)"), ("dim", str(dim))]
    return g.call(name, made, rest)


@special("index_add", "index_copy", "index_fill")
def _index_write(g: Drawer, name: str) -> str:
    v = g.v(least=1)
    shape = g.of(v).shape
    dim = g.rng.randrange(len(shape))
    picks = [g.rng.randrange(shape[dim]) for _ in range(2)] if shape[dim] else []
    if name == "index_copy":
        picks = list(dict.fromkeys(picks))
    where = f"torch.tensor({picks}, dtype=torch.long)"
    value = (
        f"{v}.narrow({dim}, 0, {len(picks)})"
        if name != "index_fill"
        else g.one_of("0", "2.5", f"{v}.sum()")
    )
    key = "value" if name == "index_fill" else "source"
    return g.call(name, v, [("dim", g.int(dim)), ("index", where), (key, value)])


@special("masked_scatter")
def _masked_scatter(g: Drawer, name: str) -> str:
    v = g.v()
    return g.call(name, v, [("mask", g.b(v)), ("source", g.same(v))])


@special("slice_scatter", "select_scatter", "diagonal_scatter")
def _scattered(g: Drawer, name: str) -> str:
    v = g.v(least=2)
    shape = g.of(v).shape
    dim = g.rng.randrange(len(shape))
    if name == "diagonal_scatter":
        return f"{v}.diagonal_scatter({v}.diagonal().flip(-1))"
    if name == "select_scatter":
        return g.call(
            name, v, [("src", f"{v}.select({dim}, -1)"), ("dim", str(dim)), ("index", "0")]
        )
    start = g.rng.randint(0, max(shape[dim] - 1, 0))
    return g.call(
        name,
        v,
        [
            ("src", f"{v}.narrow({dim}, 0, 1)"),
            ("dim", str(dim)),
            ("start", str(start)),
            ("end", str(start + 1)),
        ],
    )


@special("fill_diagonal")
def _fill_diagonal(g: Drawer, name: str) -> str:
    return f"{g.v(2)}.clone().fill_diagonal_({g.one_of('0', '2.5')})"


@special("T")
def _attribute(g: Drawer, name: str) -> str:
    return f"{g.v(2)}.{g.one_of('T', 'mT', 'T', 'H', 'mH')}"


@special("new_empty")
def _new_empty(g: Drawer, name: str) -> str:
    return f"{g.v()}.new_empty({g.one_of('(2, 3)', '[1]', '()', '2')}).zero_()"


@special("copy")
def _copy(g: Drawer, name: str) -> str:
    v = g.v()
    return f"{v}.clone().copy_({g.one_of(g.same(v), f'{v}.mean()')})"


@special(
    "fill",
    "zero",
    "normal",
    "uniform",
    "random",
    "exponential",
    "geometric",
    "log_normal",
    "bernoulli_",
)
def _fill(g: Drawer, name: str) -> str:
    v = g.v()
    given = {"fill": g.one_of("2.5", f"{v}.mean()"), "geometric": "0.5"}.get(name, "")
    return f"{v}.clone().{name.rstrip('_')}_({given})"


@special("empty_like")
def _empty_like(g: Drawer, name: str) -> str:
    v = g.v()
    return f"torch.empty_like({v}).fill_(0.5)"


@special("bucketize", "searchsorted")
def _buckets(g: Drawer, name: str) -> str:
    edges = "torch.tensor([-1.0, 0.0, 1.0])"
    v = g.v()
    return (
        f"torch.bucketize({v}, {edges})"
        if name == "bucketize"
        else f"torch.searchsorted({edges}, {v})"
    )


@special("view_as_complex")
def _view_as_complex(g: Drawer, name: str) -> str:
    v = g.v()
    return f"torch.view_as_complex(torch.stack([{v}, {v}.cos()], -1))"


@special("frexp")
def _frexp(g: Drawer, name: str) -> str:
    return f"torch.frexp({g.v()})"


@special("identity")
def _identity(g: Drawer, name: str) -> str:
    return f"{g.member('nn.Identity()')}({g.v()})"


@special("softmax")
def _softmax(g: Drawer, name: str) -> str:
    """Also behind a mask."""
    v = g.v(least=1)
    if g.chance(0.4):
        v = f"{v}.masked_fill({g.b(v)}, {g.one_of('-torch.inf', 'float(np.float64(-1e30))')})"
        return f"{v}.softmax(-1)"
    return SPECS["softmax"](g)


@special("deform_conv2d", "cuda")
def _absent(g: Drawer, name: str) -> str:
    raise Refused(name)


_ACTIVATION = {
    "relu": "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "hardtanh": "Hardtanh",
    "leaky_relu": "LeakyReLU",
    "softmin": "Softmin",
    "log_softmax": "LogSoftmax",
    "tanhshrink": "Tanhshrink",
    "logsigmoid": "LogSigmoid",
    "softmax2d": "Softmax2d",
    "threshold": "Threshold",
    "flatten": "Flatten",
    "unflatten": "Unflatten",
    "pixel_shuffle": "PixelShuffle",
    "channel_shuffle": "ChannelShuffle",
    "glu": "GLU",
    "local_response_norm": "LocalResponseNorm",
    "layer_norm": "LayerNorm",
    "cosine_similarity": "CosineSimilarity",
    "dropout1d": "Dropout1d",
    "dropout2d": "Dropout2d",
    "dropout3d": "Dropout3d",
}
_GIVEN = {
    "Threshold": "0.1, 0",
    "Unflatten": "1, (-1, 1)",
    "PixelShuffle": "1",
    "ChannelShuffle": "1",
}
_GIVEN |= {"LocalResponseNorm": "2", "Softmin": "-1", "LogSoftmax": "-1"}


def by_module(name: str) -> Draw | None:
    """The same by its module, where that has one with few arguments."""
    title = _ACTIVATION.get(name)
    if title is None:
        return None

    def draw(g: Drawer) -> str:
        v = g.v(least=1)
        given = _GIVEN.get(title, "")
        if title == "LayerNorm":
            given = str(g.of(v).shape[-1])
        other = f", {g.same(v)}" if title == "CosineSimilarity" else ""
        return f"{g.member(f'nn.{title}({given})')}({v}{other})"

    return draw


def draws(name: str) -> Sequence[Draw]:
    """Every way to draw a call of an operator."""
    found = (SPECIAL.get(name), SPECS.get(name), by_module(name))
    return [draw for draw in found if draw is not None]
