"""Calls by their arguments: a line names operators, and how each argument is drawn.

`v` a float tensor, `v3` one of three dims, `v2+` of at least two; `u` one of a narrower domain, `i` whole numbers,
`b` booleans, `c` complex numbers; `w` what is broadcast against the first, `=` one of the same shape; `s` a number,
`d` a dim, `D` dims, `B` a bool, `1..3` a whole number, `a|b` one of these texts. `name?=` may be left out; `/name`
is passed by its place alone.
"""

from __future__ import annotations

import re

from tests.hostile.drawer import Draw, Drawer

POINTWISE = """
abs absolute acos acosh angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil clone
conj conj_physical contiguous cos cosh cpu deg2rad detach digamma double erf erfc erfinv exp exp2 expit expm1 fix
float floor frac gammaln half bfloat16 byte bool short int long i0 isfinite isinf isnan isneginf isposinf isreal lgamma
log log10 log1p log2 logical_not logit nan_to_num neg negative positive to_dense rad2deg reciprocal relu resolve_conj resolve_neg
round rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square tan tanh trunc
airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 entr erfcx i0e i1 i1e log_ndtr modified_bessel_i0 modified_bessel_i1
modified_bessel_k0 modified_bessel_k1 ndtr ndtri psi scaled_modified_bessel_k0 scaled_modified_bessel_k1
spherical_bessel_j0 frexp celu elu selu gelu silu mish softplus softsign softshrink hardshrink hardsigmoid hardswish
hardtanh tanhshrink logsigmoid relu6 leaky_relu rrelu dropout alpha_dropout feature_alpha_dropout
zeros_like ones_like rand_like randn_like ravel
""".split()
BINARY = """
add sub mul div divide multiply subtract true_divide floor_divide remainder fmod maximum minimum fmax fmin atan2 arctan2
hypot xlogy xlog1py logaddexp logaddexp2 eq ne lt le gt ge greater greater_equal less less_equal not_equal copysign
float_power nextafter isclose heaviside logical_and logical_or logical_xor igamma igammac gammainc gammaincc zeta ldexp
rsub pow
""".split()
POLYNOMIALS = """
chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w hermite_polynomial_h
hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p shifted_chebyshev_polynomial_t
shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w
""".split()
LINES = """
gcd lcm bitwise_and bitwise_or bitwise_xor: i, other=i|3|v.long()
bitwise_left_shift bitwise_right_shift: i, other=1|2|i
bitwise_not: i|b
polygamma: 1..2, /u
mvlgamma multigammaln: u, p=1|2
clamp clip: v, min?=s|w, max?=s|w
clamp_min: v, min=s|w
clamp_max: v, max=s|w
lerp: v, end==|w, weight=0.3|w
addcmul addcdiv: v, tensor1=w, tensor2=w, value?=2
threshold: v, threshold=0.1|0.5, value=0|-1.0
where: b, /v, /w
masked_fill: v, mask=b, value=s
tril triu: v2+, diagonal?=-2..2
real imag: c
complex: v, =
polar: v, =
sum mean nansum nanmean: v, dim?=D|axis=D|None|[]|(), keepdim?=B
prod: v, dim?=d, keepdim?=B
all any: v|b, dim?=d, keepdim?=B
amax amin: v, dim?=D, keepdim?=B
aminmax: v, *dim?=d, *keepdim?=B
argmax argmin: v, dim?=d|None, keepdim?=B
max min median nanmedian mode: v, dim?=d, keepdim?=B
count_nonzero: v|b, dim?=D
logsumexp: v, dim=D, keepdim?=B
std var std_mean var_mean: v, dim?=D|None, *correction?=0|1, *keepdim?=B
norm: v, p?=2|1|float('inf')|3|'fro', dim?=D, keepdim?=B
vector_norm: v, ord?=2|1|0|float('inf')|-1, dim?=D, keepdim?=B
matrix_norm: v2+, ord?='fro'|1|float('inf')|'nuc'|2, dim?=(-2, -1)|(0, 1), keepdim?=B
frobenius_norm nuclear_norm: v2+, dim?=(-2, -1)|[0, 1], keepdim?=B
renorm: v2+, p=2|1, dim=d, maxnorm=0.5|1.0
dist: v, other=w, p?=2|1
cosine_similarity: v1+, /=, dim?=d
pairwise_distance: v1+, /=, p?=2.0|1.0, eps?=1e-6, keepdim?=B
diff: v1+, n?=1..2, dim?=d, prepend?=v
trapezoid trapz: v1+, *dim?=d
cumulative_trapezoid: v1+, *dim?=d
quantile nanquantile: v, q=0.5|0.25|torch.tensor([0.2, 0.7]), dim?=d, keepdim?=B
cumsum cumprod cummax cummin logcumsumexp: v, dim=d
sort: v, dim?=d, descending?=B
argsort: v, dim?=d, descending?=B
msort: v
topk: v1+, k=1..3, dim?=d, largest?=B, sorted?=B
kthvalue: v1+, k=1..3, dim?=d, keepdim?=B
softmax log_softmax softmin: v, dim=d
normalize: v, p?=2.0|1.0, dim?=d
layer_norm: v, normalized_shape=LN
rms_norm: v, normalized_shape=LN
glu: v, dim?=d
local_response_norm: v3+, size=1..4
adjoint: v2
t: v2|v1
transpose swapaxes swapdims: v, dim0=d, dim1=d
moveaxis movedim: v, source=d, destination=d
permute: v, dims=P
flip: v, dims=D
fliplr: v2+
flipud: v1+
roll: v, shifts=-3..8, dims?=d
rot90: v2+, k?=-1..5, dims?=[0, 1]|(-2, -1)|[1, 0]
repeat: v, /R
tile: v, dims=R
repeat_interleave: v, repeats=1..3|2|torch.tensor([2]), dim?=d
diagonal: v2+, offset?=-2..2, dim1?=0|-2, dim2?=1|-1
diag: v2|v1, diagonal?=-2..2
diag_embed: v1+, offset?=-2..2
diagflat: v, offset?=-1..2
trace: v2
unsqueeze: v, dim=d+
squeeze: v, dim?=D
flatten: v, start_dim?=d, end_dim?=d
reshape view: v, shape=V
unflatten: v, dim=d, sizes=(1, -1)|(-1, 2)|[2, -1]|(-1, 1)
expand: v, /E
broadcast_to: v, size=E
expand_as view_as reshape_as: v, other==
as_strided: v, size=(2, 3)|[4]|(2, 2, 2), stride=(1, 2)|[2]|(3, 1, 2)|(1, 0), storage_offset?=0|1
atleast_1d atleast_2d atleast_3d: v
cat: [v, =], dim?=d
stack: [v, =], dim?=d+
column_stack dstack hstack vstack row_stack: [v, =]
block_diag: v2, /v1
cartesian_prod: v1, /v1
combinations: v1, r?=2
meshgrid: v1, /v1, indexing='ij'|'xy'
broadcast_tensors: v, /w
chunk unsafe_chunk: v1+, chunks=1..4, dim?=d
split unsafe_split: v1+, split_size_or_sections=1..3, dim?=d
split_with_sizes unsafe_split_with_sizes: v1+, split_sizes=S, dim?=0
tensor_split: v1+, indices_or_sections=1..4|[1, 3]|(2,)|torch.tensor([1, 2])|torch.tensor(2), dim?=d
hsplit: v1+, /1..2|[1, 2]
vsplit: v2+, /1..2|[1, 2]
dsplit: v3+, /1..2|[1, 2]
unbind: v1+, dim?=d
narrow: v1+, dim=d, start=0..2|-2|torch.tensor(1), length=0..3
select: v1+, dim=d, index=0..1|-1
index_select: v1+, dim=d, index=torch.tensor([0, 0, 1])|torch.tensor([1])|torch.tensor(0)|torch.tensor([], dtype=torch.long)
gather: v1+, dim=d, index=G
take_along_dim: v1+, indices=G, dim=d
take: v1+, index=torch.tensor([0, 2])|torch.tensor([[1, -1]])|i
one_hot: iv, num_classes?=40
fftshift ifftshift: v, dim?=D
fft ifft: v1+, n?=3..6, dim?=d
rfft ihfft: v1+, n?=3..6, dim?=d
hfft irfft: v1+, n?=3..6, dim?=d
stft: v2, n_fft=2..4, hop_length?=1..3, *center?=B, *pad_mode?='constant'|'replicate', *return_complex=True
fft2 ifft2 rfft2 ihfft2 irfft2 hfft2: v2+
fftn ifftn rfftn ihfftn irfftn hfftn: v1+, dim?=D
view_as_real: c
matmul: v, other=M
mm: v2, mat2=M
bmm: v3, mat2=M
mv: v2, vec=M1
dot vdot inner: v1, /=
vecdot: v1+, /=, *dim?=d
outer ger: v1, vec2=v1
kron: v, other=v
cross: x3, other==, dim?=-1
cdist: v2|v3, x2==, p?=1.0|2.0|3.0
pdist: v2
cov corrcoef: v2|v1
chain_matmul: v2, /M
multi_dot: [v2, M]
det logdet inv inverse slogdet pinv pinverse matrix_exp: q
svd qr: v2+
svdvals: v2+
eigh eigvalsh: q
cholesky: p
matrix_power: q, n=0..3|-1
solve: q, /=
solve_triangular: q, /=, *upper=B
pixel_shuffle: ps, upscale_factor=2
pixel_unshuffle: pu, downscale_factor=2
channel_shuffle: v3+, groups=1..3
type_as: v, other=v|i
type: v, dtype=torch.float32|torch.long|torch.float64
to: v, /torch.float32|torch.float64|'cpu'|w|dtype=torch.int32
exponential: v
full_like: v, fill_value=s
new_full: v, size=(2, 3)|[1]|(), fill_value=2.0|np.int64(1)
new_ones new_zeros: v, size=(2, 3)|[1]|torch.Size([2])
randint_like: v, /5
new_tensor: v, data=[1.0, 2.0]|[[1, 2]]|3.0
bernoulli: u
l1_loss mse_loss huber_loss smooth_l1_loss soft_margin_loss: v, target==, reduction?='none'|'sum'|'mean'
kl_div: v, target==, reduction?='none'|'sum'|'batchmean', log_target?=B
binary_cross_entropy_with_logits: v, target==, weight?=w, reduction?='none'|'sum'
unfold: v1+, dimension=d, size=1..3, step=1..3
dropout1d dropout2d dropout3d feature_dropout: v3|v4, /0.5, /False
softmax2d: v4
"""


def _specs() -> dict[str, list[str]]:
    specs: dict[str, list[str]] = {name: ["u"] for name in POINTWISE}
    specs |= {name: ["u", "other=w"] for name in BINARY}
    specs |= {name: ["v", "n=2|3|v.long()"] for name in POLYNOMIALS}
    for line in LINES.strip().splitlines():
        names, parts = line.split(": ", 1)
        specs |= dict.fromkeys(names.split(), _parts(parts))
    return specs


def _parts(text: str) -> list[str]:
    """At the commas that no bracket holds."""
    return [part.strip() for part in re.split(r",\s(?![^\[(]*[\])])", text)]


def drawn(name: str, parts: list[str]) -> Draw:
    def draw(g: Drawer) -> str:
        if name in ("dropout1d", "dropout2d", "dropout3d", "feature_dropout"):
            return g.call(name, g.v(), [("", "0.5"), ("", "False")])
        if parts[0].startswith("["):
            inner = parts[0][1:-1].split(", ")
            first = argument(g, inner[0], "")
            others = [
                argument(g, part, first) for part in inner[1:] for _ in range(g.rng.randint(1, 2))
            ]
            listed = ", ".join([first, *others])
            opened, closed = g.rng.choice(("[]", "()"))
            v, first = first, f"{opened}{listed}{closed}"
        else:
            v = first = argument(g, parts[0], "")
        rest = [pair for part in parts[1:] for pair in _argument(g, part, v)]
        return g.call(name, first, rest)

    return draw


def _argument(g: Drawer, part: str, first: str) -> list[tuple[str, str]]:
    if part.startswith("/"):
        return [("", argument(g, part[1:], first))]
    if part == "=":
        return [("", g.same(first))]
    key, kind = part.split("=", 1)
    if key.endswith("?") and g.chance(0.45):
        return []
    key = key.rstrip("?")
    text = argument(g, kind, first)
    if key.startswith("*"):
        return [("", f"{key[1:]}={text}")]
    return [("", text)] if re.match(r"\w+=", text) else [(key, text)]


def argument(g: Drawer, kind: str, first: str) -> str:
    """The text of one argument."""
    options = kind.split("|")
    kind = g.rng.choice(options)
    if found := re.fullmatch(r"(-?\d+)\.\.(\d+)", kind):
        return g.near(int(found[1]), int(found[2]))
    if kind.startswith("axis="):
        return f"axis={g.dims(first)}"
    if found := re.fullmatch(r"v(\d)", kind):
        return g.v(int(found[1]))
    if found := re.fullmatch(r"v(\d)\+", kind):
        return g.v(least=int(found[1]))
    if kind == "v.long()":
        return f"{first}.long()"
    made = KINDS.get(kind)
    return made(g, first) if made else kind


def _split(g: Drawer, v: str) -> str:
    size = g.of(v).shape[0]
    first = g.rng.randint(0, size)
    return g.seq([first, size - first])


def _normalized(g: Drawer, v: str) -> str:
    shape = tuple(g.of(v).shape)
    return g.seq(shape[g.rng.randrange(len(shape)) :]) if shape else "()"


def _order(g: Drawer, v: str) -> str:
    ndim = g.of(v).ndim
    dims = g.rng.sample(range(ndim), ndim)
    return g.seq([d if g.chance(0.7) else d - ndim for d in dims])


def _repeats(g: Drawer, v: str) -> str:
    count = g.of(v).ndim + g.rng.choice((0, 0, 0, 1))
    return g.seq([g.rng.choice((1, 1, 2, 3, 0 if g.chance(0.1) else 1)) for _ in range(count)])


def _shape(g: Drawer, v: str) -> str:
    """Another shape of as many elements: dims split, put together, or all new."""
    shape = list(g.of(v).shape)
    for _ in range(g.rng.randint(1, 2)):
        at = g.rng.randrange(len(shape) + 1)
        how = g.rng.random()
        if how < 0.35 and at + 1 < len(shape):
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        elif how < 0.7 and at < len(shape):
            factors = [f for f in range(1, shape[at] + 1) if shape[at] % f == 0] or [1]
            factor = g.rng.choice(factors)
            shape[at : at + 1] = [factor, shape[at] // factor]
        else:
            shape.insert(at, 1)
    if shape and g.chance(0.4) and 0 not in shape:
        shape[g.rng.randrange(len(shape))] = -1
    return g.seq(shape) if -1 not in shape else f"({', '.join(map(str, shape))},)"


def _expanded(g: Drawer, v: str) -> str:
    shape = [g.rng.choice((n, -1)) if n != 1 else g.rng.randint(1, 3) for n in g.of(v).shape]
    more = [g.rng.randint(1, 2) for _ in range(g.rng.choice((0, 0, 1)))]
    return f"[{', '.join(map(str, more + shape))}]"


def _gathered(g: Drawer, v: str) -> str:
    """Indices of the same rank, constant or computed."""
    shape = [max(n - g.rng.choice((0, 0, 1)), 1) for n in g.of(v).shape]
    least = min(g.of(v).shape, default=1)
    count = 1
    for n in shape:
        count *= n
    if g.chance(0.3):
        return f"({v}.abs() * 3).long() % {max(least, 1)}"
    return f"(torch.arange({count}) * {g.rng.choice((1, 3, 5))} % {max(least, 1)}).view({tuple(shape)})"


def _factor(g: Drawer, v: str) -> str:
    """A right-hand factor of a product."""
    shape = tuple(g.of(v).shape)
    inner = shape[-1] if shape else 1
    size = (*(shape[:-2] if g.chance(0.5) or len(shape) == 3 else ()), inner, g.rng.randint(1, 4))
    if len(shape) >= 2 and g.chance(0.35):
        return g.one_of(f"{v}.mT", f"{v}.transpose(-1, -2)", f"{v}.adjoint()")
    made = g.const(size)
    return f"{made}.tril()" if g.chance(0.2) else made


def _square(g: Drawer, v: str) -> str:
    """A square matrix that has an inverse."""
    made = g.fresh()
    text = f"{g.v(least=1)}[..., None] * 0.1"
    side = g.env[made] = g.of(text)
    g.pre(f"{made} = {text}")
    n = side.shape[-2]
    return f"({made} * {made}.mT + torch.eye({n}))"


KINDS = {
    "v": lambda g, v: g.v(),
    "u": lambda g, v: g.u(),
    "i": lambda g, v: g.i(),
    "iv": lambda g, v: f"({g.v()}.abs() * 3).long().clamp(max=9)",
    "b": lambda g, v: g.b(),
    "c": lambda g, v: g.c(),
    "w": lambda g, v: g.w(v),
    "=": lambda g, v: g.same(v),
    "": lambda g, v: g.same(v),
    "s": lambda g, v: g.scalar(),
    "d": lambda g, v: g.dim(v),
    "d+": lambda g, v: g.dim(v, 1),
    "D": lambda g, v: g.dims(v),
    "B": lambda g, v: g.bool(),
    "LN": _normalized,
    "P": _order,
    "R": _repeats,
    "V": _shape,
    "E": _expanded,
    "S": _split,
    "G": _gathered,
    "M": _factor,
    "M1": lambda g, v: g.const(tuple(g.of(v).shape)[-1:]),
    "q": _square,
    "p": _square,
    "x3": lambda g, v: f"{g.v(least=1)}[..., None].expand(*[-1] * {0}, 3)" if False else _three(g),
    "ps": lambda g, v: _shuffled(g, 4, 1),
    "pu": lambda g, v: _shuffled(g, 1, 2),
}


def _three(g: Drawer) -> str:
    v = g.v(least=1)
    return f"torch.stack([{v}, {v}.flip(-1), {v} * 2], -1)"


def _shuffled(g: Drawer, channels: int, factor: int) -> str:
    v = g.v(4)
    return f"{v}.repeat(1, {channels}, {factor}, {factor})"


SPECS = {name: drawn(name, parts) for name, parts in _specs().items()}
