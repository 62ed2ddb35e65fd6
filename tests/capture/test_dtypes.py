"""A shape stands for a tensor of the model's own dtype: double, half, bfloat16; what was said to be integers, is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

DTYPES = (torch.float64, torch.float16, torch.bfloat16, torch.float32)


def window(x: Tensor, size: int) -> Tensor:
    return sum(x[..., i : x.shape[-1] - size + 1 + i] for i in range(size))  # type: ignore[return-value]


class Recurrent(nn.Module):
    """Weights and inputs of a GRU, and the operands of einsum, have to be of one dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 4, 3, padding=1), nn.BatchNorm1d(4)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.register_buffer("kernel", torch.rand(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(F.gelu(self.norm(self.conv(x))).transpose(1, 2))
        y = torch.einsum("blc,cd->bdl", y, self.kernel)
        assert y.dtype == self.conv.weight.dtype
        return y + torch.linspace(0, 1, 6, dtype=x.dtype)[:, None]


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.place = nn.Parameter(torch.rand(1, 6, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.embed(x).flatten(2).mT + self.place)  # type: ignore[no-any-return]


class Resampling(nn.Module):
    """Constants of the input's dtype, as a kernel of a convolution and as a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, (3, 1))

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.ones(2, 1, 1, 5, dtype=x.dtype, device=x.device)
        y = F.conv2d(self.conv(x), kernel, stride=(1, 2), groups=2)
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        return F.softplus(y) * F.avg_pool2d(y, 1) + y.new_full((1,), 0.5)


MODELS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "recurrent": (Recurrent, (1, 3, 14)),
    "attending": (Attending, (1, 3, 8, 12)),
    "resampling": (Resampling, (1, 2, 7, 15)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_any_dtype_is_analysed_and_verified(name: str, dtype: torch.dtype) -> None:
    kind, shape = MODELS[name]
    torch.manual_seed(0)
    model = kind().to(dtype).eval()
    report = rfgraph.analyze(model, shape)
    (leaf,) = report.fx.graph.find_nodes(op="placeholder")
    assert leaf.meta["val"].dtype is dtype
    x = torch.randn(shape).to(dtype)
    assert torch.equal(report.fx(x), model(x))
    check = rfgraph.verify(model, shape)
    assert check and check.exact and check.faithful and check.unread == ()
    float32 = rfgraph.analyze(copy.deepcopy(model).float(), shape)
    assert [node.to_dict() for node in report.nodes] == [node.to_dict() for node in float32.nodes]


def test_a_wrong_answer_is_seen_in_half_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.verify.mutants import taught

    monkeypatch.setattr(
        "rfgraph.analysis.VOCABULARY", taught("avg_pool2d", lambda node: (rfgraph.same(4),))
    )
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.AvgPool2d(3, 1)).half()
    check = rfgraph.verify(model, (1, 2, 9, 8))
    assert not check and check.blame is not None and check.blame.node == "1"


class Scaled(nn.Module):
    """A scale of float32 before layers of half."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.body = nn.Sequential(nn.Conv1d(2, 2, 3).half(), nn.Conv1d(2, 2, 3).half())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


def test_where_dtypes_are_mixed_it_is_that_of_the_first_layer() -> None:
    assert rfgraph.verify(Scaled(), (1, 2, 11)).exact


def test_a_model_of_buffers_and_one_of_nothing() -> None:
    class Buffered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.arange(3))
            self.register_buffer("kernel", torch.ones(1, 1, 3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv1d(x, self.kernel)

    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype is torch.get_default_dtype()
            return window(x, 3)

    assert rfgraph.verify(Buffered(), (1, 1, 9)).exact
    assert rfgraph.verify(Nothing(), (1, 1, 9)).exact


def test_a_shape_beside_a_tensor_has_the_models_dtype() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3, dtype=torch.float64)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            assert x.dtype is torch.float64 and y.dtype is torch.float32
            return self.conv(x) + y

    inputs: list[Any] = [(1, 2, 9), torch.rand(1, 2, 7)]
    assert rfgraph.verify(Two(), inputs).exact


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8], ids=str)
def test_integers_stay_what_they_are_in_the_probes(dtype: torch.dtype) -> None:
    class Indexed(nn.Module):
        def forward(self, x: Tensor, which: Tensor) -> Tensor:
            assert which.dtype is dtype
            return window(x, 3) + (which == 0)

    assert rfgraph.verify(Indexed(), [(1, 2, 9), torch.zeros(1, 1, 7, dtype=dtype, device="meta")])


def test_a_table_of_the_model_gives_its_own_dtype_and_shape_by_a_computed_index() -> None:
    model = module_of(lambda m, x: m.table.weight[x] * 1.0, torch.float64)
    report = rfgraph.analyze(model, torch.zeros(1, 7, dtype=torch.long), axes=(1,))
    (picked,) = (n for n in report.fx.graph.nodes if n.target == "__getitem__")
    assert picked.meta["val"].dtype is torch.float64 and report.output.shape == (1, 7, 4)
    assert rfgraph.verify(model, torch.zeros(1, 7, dtype=torch.long), axes=(1,))


# --- what cannot be done ------------------------------------------------------------------------------


def module_of(function: Any, dtype: torch.dtype = torch.float32) -> nn.Module:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4, dtype=dtype)

        def forward(self, x: Tensor) -> Tensor:
            return function(self, x)  # type: ignore[no-any-return]

    return Model()


WANTING = {
    "embedding": lambda m, x: m.table(x),
    "F.embedding": lambda m, x: F.embedding(x, m.table.weight),
    "gather": lambda m, x: m.table.weight.gather(0, x),
    "take": lambda m, x: torch.take(m.table.weight, x),
    "getitem": lambda m, x: m.table.weight[:, x],
    "index_select": lambda m, x: m.table.weight.index_select(0, x[0]),
    "one_hot": lambda m, x: F.one_hot(x, 9),
}


@pytest.mark.parametrize("name", WANTING)
def test_a_shape_that_is_used_as_an_index_is_refused_with_what_to_pass(name: str) -> None:
    with pytest.raises(
        rfgraph.InputError,
        match=r"; a shape stands for floating-point numbers, and 'x' is used as an index: pass a tensor of "
        r"integers, as in torch.zeros\(1, 7, dtype=torch.long\)$",
    ) as caught:
        rfgraph.analyze(module_of(WANTING[name]), (1, 7), axes=(1,))
    assert "\n" not in str(caught.value)


def test_a_tensor_of_floating_point_numbers_is_no_index() -> None:
    with pytest.raises(
        rfgraph.CaptureError,
        match=r"getitem failed .*, at test_dty.*: tensors used as indices must be long, int, byte or bool",
    ) as caught:
        rfgraph.analyze(module_of(WANTING["getitem"]), torch.zeros(1, 7), axes=(1,))
    assert "a shape stands" not in str(caught.value)


def test_the_integers_that_are_asked_for_will_do() -> None:
    model = module_of(WANTING["embedding"])
    assert rfgraph.verify(model, torch.zeros(1, 7, dtype=torch.long), axes=(1,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_an_operator_without_a_kernel_is_told_with_what_to_do(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv3d(1, 1, 1), nn.AvgPool3d(2)).to(dtype)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(
        rfgraph.VerificationError,
        match=rf"not implemented for .*; torch cannot do this in {name} here: verify a copy in float32, copy",
    ):
        rfgraph.verify(model, (1, 1, 4, 6, 5))
    assert rfgraph.verify(copy.deepcopy(model).float(), (1, 1, 4, 6, 5)).exact


def test_the_effective_field_is_refused_in_half_where_gradients_vanish() -> None:
    model = nn.Conv1d(1, 1, 3, padding=1)
    with pytest.raises(
        rfgraph.VerificationError, match="'input' is float16, in which small gradients vanish: take"
    ):
        rfgraph.effective(copy.deepcopy(model).half(), (1, 1, 9))
    assert rfgraph.effective(model.bfloat16(), (1, 1, 9)).map.shape == (9,)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_operator_without_a_rule_is_measured_in_its_own_dtype(
    dtype: torch.dtype, untaught: Callable[..., None]
) -> None:
    untaught("multi_dot")

    def unknown(m: Any, x: Tensor) -> Tensor:
        return torch.linalg.multi_dot([x[0], m.table.weight.mT, m.table.weight])

    report = rfgraph.analyze(module_of(unknown, dtype), (1, 6, 4), on_unknown="measure")
    assert "measured" in str(report) and report.output.shape == (6, 4)
