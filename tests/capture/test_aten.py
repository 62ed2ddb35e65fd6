"""Every ATen overload that an exported graph may hold, beside the public spelling that stands for it.

The overload is the only call of a graph; what is captured of that graph must have known operators alone, and
compute what torch's own overload computes, in values, shapes, dtypes and in what is written into.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

import rfgraph
from rfgraph.capture.aten import SPELLINGS
from rfgraph.graph.calls import outputs_of, qualified
from rfgraph.graph.replay import replay

aten = torch.ops.aten
GENERATOR = torch.Generator().manual_seed(3)


def x(*shape: int) -> Tensor:
    """An operand of the graph."""
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


class Held(nn.Module):
    """A tensor of the model, in the place of an operand."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.register_buffer("tensor", tensor)


def held(*shape: int) -> Held:
    return Held(torch.rand(shape, generator=GENERATOR, dtype=torch.float64) + 0.5)


def index(*entries: int) -> Held:
    return Held(torch.tensor(entries))


def _weights(gates: int, inputs: int, hidden: int, directions: int = 1) -> list[Held]:
    shapes = (
        (gates * hidden, inputs),
        (gates * hidden, hidden),
        (gates * hidden,),
        (gates * hidden,),
    )
    return [held(*shape) for _ in range(directions) for shape in shapes]


_RNN = (True, 1, 0.0, False, False, False)
_PACKED = (True, 1, 0.0, False, False)
_PACKED_BOTH = (True, 1, 0.0, False, True)
_LSTM_BOTH = (True, 1, 0.0, False, True, True)
CASES: dict[str, list[tuple[Any, ...]]] = {
    "slice": [
        (aten.slice.Tensor, x(2, 7, 3), 1, 2, 6, 3),
        (aten.slice.Tensor, x(2, 7, 3), -2, -4, 9223372036854775807),
        (aten.slice.Tensor, x(2, 7)),
        (aten.slice.Tensor, x(2, 7), 1, 3, 40),
    ],
    "select": [(aten.select.int, x(2, 7, 3), 1, 4), (aten.select.int, x(2, 7, 3), -1, -2)],
    "slice_scatter": [
        (aten.slice_scatter.default, x(2, 7), x(2, 2), 1, 2, 6, 2),
        (aten.slice_scatter.default, x(2, 7), x(2, 7)),
        (aten.slice_scatter.default, held(2, 7), x(2, 3), 1, -3),
    ],
    "select_scatter": [(aten.select_scatter.default, x(2, 7, 3), x(2, 3), 1, 4)],
    "index": [
        (aten.index.Tensor, x(2, 7, 3), [None, index(4, 0, 4)]),
        (aten.index.Tensor, x(2, 7, 3), [index(1, 0), None, index(2, 1)]),
    ],
    "index_put": [
        (aten.index_put.default, x(2, 7), [None, index(4, 0)], x(2, 2)),
        (aten.index_put.default, x(7, 2), [index(4, 0)], x(2, 2), True),
    ],
    "index_put_": [
        (aten.index_put_.default, x(2, 7), [None, index(4, 0)], x(2, 2)),
        (aten.index_put_.default, x(7, 2), [index(4, 0)], x(2, 2), True),
    ],
    "alias": [(aten.alias.default, x(2, 7))],
    "lift": [(aten.lift.default, x(2, 7))],
    "lift_fresh": [(aten.lift_fresh.default, x(2, 7))],
    "lift_fresh_copy": [(aten.lift_fresh_copy.default, x(2, 7))],
    "detach_": [(aten.detach_.default, x(2, 7))],
    "copy": [(aten.copy.default, x(2, 7), x(7)), (aten.copy.default, held(2, 7), x(2, 1))],
    "_to_copy": [(aten._to_copy.default, x(2, 7), {"dtype": torch.float32}), (aten._to_copy.default, x(2, 7), {"dtype": torch.float64}), (aten._to_copy.default, x(2, 7))],
    "fill": [(aten.fill.Scalar, x(2, 7), 3.0), (aten.fill.Tensor, x(2, 7), x())],
    "_unsafe_view": [(aten._unsafe_view.default, x(2, 6), [3, 4])],
    "_reshape_alias": [(aten._reshape_alias.default, x(2, 6), [3, 4], [4, 1])],
    "view_copy": [(aten.view_copy.default, x(2, 6), [3, -1])],
    "rsub": [(aten.rsub.Scalar, x(2, 7), 3.0, 2), (aten.rsub.Tensor, x(2, 7), x(7))],
    "split_copy": [(aten.split_copy.Tensor, x(2, 7), 3, 1)],
    "_cdist_forward": [(aten._cdist_forward.default, x(2, 3), x(4, 3), 2.0, None)],
    "tensordot": [(aten.tensordot.default, x(2, 3, 4), x(3, 2), [1, 0], [0, 1])],
    "split_with_sizes": [(aten.split_with_sizes.default, x(2, 7), [3, 4], 1)],
    "convolution": [
        (aten.convolution.default, x(1, 4, 7), held(2, 2, 3), held(2), [2], [1], [1], False, [0], 2),
        (aten.convolution.default, x(1, 4, 7, 5), held(4, 2, 3, 2), None, [2, 1], [1, 0], [1, 2], True, [1, 0], 1),
        (aten.convolution.default, x(1, 2, 4, 5, 3), held(1, 2, 1, 2, 3), None, [1] * 3, [0] * 3, [1] * 3, False, [0] * 3, 1),
    ],
    "_convolution": [
        (aten._convolution.default, x(1, 4, 7), held(2, 2, 3), held(2), [2], [1], [1], False, [0], 2, False, False, True, True)
    ],
    "_native_batch_norm_legit_no_training": [
        (aten._native_batch_norm_legit_no_training.default, x(2, 3, 5), held(3), held(3), held(3), held(3), 0.1, 1e-4)
    ],
    "native_layer_norm": [(aten.native_layer_norm.default, x(2, 3, 5), [3, 5], held(3, 5), None, 1e-4)],
    "native_group_norm": [(aten.native_group_norm.default, x(2, 6, 5), held(6), held(6), 2, 6, 5, 3, 1e-4)],
    "native_dropout": [(aten.native_dropout.default, x(2, 7), 0.5, False)],
    "_softmax": [(aten._softmax.default, x(2, 7), 1, False)],
    "_log_softmax": [(aten._log_softmax.default, x(2, 7), -1, False)],
    "_scaled_dot_product_flash_attention_for_cpu": [
        (aten._scaled_dot_product_flash_attention_for_cpu.default, x(1, 2, 5, 4), x(1, 2, 5, 4), x(1, 2, 5, 4), 0.0, True),
        (aten._scaled_dot_product_flash_attention_for_cpu.default, x(1, 2, 3, 4), x(1, 2, 5, 4), x(1, 2, 5, 4), {"scale": 0.7}),
    ],
    "embedding": [(aten.embedding.default, x(9, 4), Held(torch.tensor([3, 0])), 0)],
    "elu": [(aten.elu.default, x(2, 7), 0.7), (aten.elu.default, x(2, 7), 1.6732632423543772, 1.0507009873554805), (aten.elu.default, x(2, 7), 0.7, 1.0, 1.3)],
    "log_sigmoid": [(aten.log_sigmoid.default, x(2, 7))],
    "constant_pad_nd": [(aten.constant_pad_nd.default, x(2, 7), [1, -2, 0, 3], 2.0)],
    "reflection_pad1d": [(aten.reflection_pad1d.default, x(2, 7), [1, 3])],
    "reflection_pad2d": [(aten.reflection_pad2d.default, x(1, 4, 7), [1, 3, 0, 2])],
    "reflection_pad3d": [(aten.reflection_pad3d.default, x(1, 3, 4, 5), [1, 2, 0, 2, 1, 0])],
    "replication_pad1d": [(aten.replication_pad1d.default, x(2, 7), [1, 3])],
    "replication_pad2d": [(aten.replication_pad2d.default, x(1, 4, 7), [1, 3, 0, 2])],
    "replication_pad3d": [(aten.replication_pad3d.default, x(1, 3, 4, 5), [1, 2, 0, 2, 1, 0])],
    "max_pool1d_with_indices": [(aten.max_pool1d_with_indices.default, x(1, 2, 9), [3], [2], [1])],
    "max_pool2d_with_indices": [(aten.max_pool2d_with_indices.default, x(1, 2, 9, 6), [3, 2])],
    "max_pool3d_with_indices": [(aten.max_pool3d_with_indices.default, x(1, 2, 5, 6, 4), [2, 3, 1], [1, 2, 2])],
    "adaptive_max_pool1d": [(aten.adaptive_max_pool1d.default, x(1, 2, 9), [4])],
    "adaptive_max_pool2d": [(aten.adaptive_max_pool2d.default, x(1, 2, 9, 6), [4, 1])],
    "adaptive_max_pool3d": [(aten.adaptive_max_pool3d.default, x(1, 2, 5, 6, 4), [2, 3, 1])],
    "_adaptive_avg_pool2d": [(aten._adaptive_avg_pool2d.default, x(1, 2, 9, 6), [4, 1])],
    "_adaptive_avg_pool3d": [(aten._adaptive_avg_pool3d.default, x(1, 2, 5, 6, 4), [2, 3, 1])],
    "upsample_nearest1d": [(aten.upsample_nearest1d.vec, x(1, 2, 5), None, [1.5]), (aten.upsample_nearest1d.default, x(1, 2, 5), [7])],
    "upsample_nearest2d": [
        (aten.upsample_nearest2d.vec, x(1, 2, 5, 4), [7, 9], None),
        (aten.upsample_nearest2d.default, x(1, 2, 5, 4), [7, 8], 1.5, 2.0),
    ],
    "upsample_nearest3d": [(aten.upsample_nearest3d.vec, x(1, 2, 3, 4, 2), None, [2.0, 1.0, 3.0])],
    "_upsample_nearest_exact1d": [(aten._upsample_nearest_exact1d.vec, x(1, 2, 5), None, [1.5])],
    "_upsample_nearest_exact2d": [(aten._upsample_nearest_exact2d.vec, x(1, 2, 5, 4), [7, 9], None)],
    "_upsample_nearest_exact3d": [(aten._upsample_nearest_exact3d.vec, x(1, 2, 3, 4, 2), [4, 5, 3], None)],
    "upsample_linear1d": [(aten.upsample_linear1d.vec, x(1, 2, 5), None, False, [1.5])],
    "upsample_bilinear2d": [
        (aten.upsample_bilinear2d.vec, x(1, 2, 5, 4), [7, 9], True, None),
        (aten.upsample_bilinear2d.default, x(1, 2, 5, 4), [7, 8], False, 1.5, 2.0),
    ],
    "upsample_trilinear3d": [(aten.upsample_trilinear3d.vec, x(1, 2, 3, 4, 2), [4, 5, 3], False, None)],
    "upsample_bicubic2d": [(aten.upsample_bicubic2d.vec, x(1, 2, 5, 4), None, True, [2.0, 1.5])],
    "_upsample_bilinear2d_aa": [(aten._upsample_bilinear2d_aa.vec, x(1, 2, 9, 8), [4, 3], False, None)],
    "_upsample_bicubic2d_aa": [(aten._upsample_bicubic2d_aa.vec, x(1, 2, 9, 8), [4, 3], False, None)],
    "lstm.input": [
        (aten.lstm.input, x(5, 2, 3), [held(1, 2, 4), held(1, 2, 4)], _weights(4, 3, 4), *_RNN),
        (aten.lstm.input, x(2, 5, 3), [held(2, 2, 4), held(2, 2, 4)], _weights(4, 3, 4, 2), *_LSTM_BOTH),
        (aten.lstm.input, x(5, 2, 3), [held(1, 2, 4), held(1, 2, 4)], _weights(4, 3, 4)[:2], False, *_RNN[1:]),
    ],
    "gru.input": [(aten.gru.input, x(5, 2, 3), held(1, 2, 4), _weights(3, 3, 4), *_RNN)],
    "rnn_tanh.input": [(aten.rnn_tanh.input, x(5, 2, 3), held(1, 2, 4), _weights(1, 3, 4), *_RNN)],
    "rnn_relu.input": [(aten.rnn_relu.input, x(5, 2, 3), held(1, 2, 4), _weights(1, 3, 4), *_RNN)],
    "lstm.data": [
        (aten.lstm.data, x(6, 3), index(3, 2, 1), [held(1, 3, 4), held(1, 3, 4)], _weights(4, 3, 4), *_PACKED),
        (aten.lstm.data, x(6, 3), index(2, 2, 2), [held(2, 2, 4), held(2, 2, 4)], _weights(4, 3, 4, 2), *_PACKED_BOTH),
    ],
    "gru.data": [
        (aten.gru.data, x(6, 3), index(3, 1, 1, 1), held(1, 3, 4), _weights(3, 3, 4), *_PACKED),
        (aten.gru.data, x(7, 3), index(3, 2, 2), held(1, 3, 4), _weights(3, 3, 4)[:2], False, *_PACKED[1:]),
    ],
    "rnn_tanh.data": [(aten.rnn_tanh.data, x(6, 3), index(3, 2, 1), held(1, 3, 4), _weights(1, 3, 4), *_PACKED)],
    "rnn_relu.data": [(aten.rnn_relu.data, x(6, 3), index(3, 2, 1), held(1, 3, 4), _weights(1, 3, 4), *_PACKED)],
    "_pack_padded_sequence": [
        (aten._pack_padded_sequence.default, x(5, 3, 2), index(5, 2, 2), False),
        (aten._pack_padded_sequence.default, x(2, 5, 3), index(4, 4), True),
    ],
    "_pad_packed_sequence": [
        (aten._pad_packed_sequence.default, x(6, 2), index(3, 2, 1), True, 0.5, 5),
        (aten._pad_packed_sequence.default, x(6, 2), index(2, 2, 2), False, 0.0, 3),
    ],
    "pad_sequence": [(aten.pad_sequence.default, [x(3, 2), x(5, 2), x(1, 2)], True, 0.5)],
    # by their own name
    "named": [
        (aten.add.Tensor, x(2, 7), x(7), {"alpha": 3}),
        (aten.sub.Scalar, x(2, 7), 2, 3),
        (aten.div.Tensor_mode, x(2, 7), x(7), {"rounding_mode": "floor"}),
        (aten.pow.Scalar, 2.0, x(2, 7)),
        (aten.linear.default, x(2, 7), held(3, 7), held(3)),
        (aten.addmm.default, held(3), x(2, 7), held(7, 3)),
        (aten.mean.dim, x(2, 7, 3), [1, -1], True),
        (aten.var.correction, x(2, 7, 3), [1], {"correction": 0}),
        (aten.amax.default, x(2, 7, 3), [1]),
        (aten.max.dim, x(2, 7, 3), 1),
        (aten.linalg_vector_norm.default, x(2, 7, 3), 2, [1]),
        (aten.fft_rfft.default, x(2, 7)),
        (aten.conv1d.padding, x(1, 2, 7), held(3, 2, 3), None, [1], "same"),
        (aten.conv_transpose2d.input, x(1, 2, 5, 4), held(2, 3, 3, 2), None, [2, 1]),
        (aten.batch_norm.default, x(2, 3, 5), held(3), None, held(3), held(3), False, 0.1, 1e-5, False),
        (aten.instance_norm.default, x(2, 3, 5), None, None, None, None, True, 0.1, 1e-5, False),
        (aten.layer_norm.default, x(2, 3, 5), [5], held(5)),
        (aten.group_norm.default, x(2, 6, 5), 3),
        (aten.adaptive_avg_pool2d.default, x(1, 2, 5, 7), [2, 3]),
        (aten.avg_pool2d.default, x(1, 2, 5, 7), [2, 3], [1, 2], [1, 0], True, False),
        (aten.max_pool2d.default, x(1, 2, 5, 7), [2, 3], [1, 2]),
        (aten.pad.default, x(1, 2, 7), [2, 1], "circular"),
        (aten.scaled_dot_product_attention.default, x(1, 2, 5, 4), x(1, 2, 3, 4), x(1, 2, 3, 4)),
        (aten.hardtanh.default, x(2, 7), -0.3, 0.4),
        (aten.leaky_relu.default, x(2, 7), 0.3),
        (aten.softplus.default, x(2, 7), 2.0),
        (aten.gelu.default, x(2, 7), {"approximate": "tanh"}),
        (aten.hardswish.default, x(2, 7)),
        (aten.silu.default, x(2, 7)),
        (aten.glu.default, x(2, 8), 1),
        (aten.clamp.default, x(2, 7), -0.5, 0.2),
        (aten.where.self, Held(torch.tensor([True, False, True])), x(2, 3), x(3)),
        (aten.masked_fill.Scalar, x(2, 3), Held(torch.tensor([True, False, True])), 2.0),
        (aten.softmax.int, x(2, 7), 1),
        (aten.permute.default, x(2, 7, 3), [2, 0, 1]),
        (aten.transpose.int, x(2, 7, 3), 0, -1),
        (aten.expand.default, x(2, 1), [3, 2, 5]),
        (aten.view.default, x(2, 6), [4, 3]),
        (aten.flatten.using_ints, x(2, 7, 3), 1),
        (aten.unflatten.int, x(2, 6), 1, [3, 2]),
        (aten.squeeze.dims, x(2, 1, 3, 1), [1, 3]),
        (aten.unsqueeze.default, x(2, 7), -1),
        (aten.cat.default, [x(2, 7), x(2, 3)], 1),
        (aten.stack.default, [x(2, 7), x(2, 7)], 1),
        (aten.split.Tensor, x(2, 7), 3, 1),
        (aten.chunk.default, x(2, 7), 3, 1),
        (aten.unbind.int, x(2, 3), 1),
        (aten.repeat.default, x(2, 7), [2, 1, 3]),
        (aten.roll.default, x(2, 7), [3], [1]),
        (aten.flip.default, x(2, 7), [1]),
        (aten.as_strided.default, x(4, 6), [3, 2], [6, 2], 1),
        (aten.index_select.default, x(2, 7), 1, index(3, 0)),
        (aten.gather.default, x(2, 7), 1, Held(torch.tensor([[3, 0], [1, 6]]))),
        (aten.pixel_shuffle.default, x(1, 8, 3, 2), 2),
        (aten.einsum.default, "ij,kj->ik", [x(2, 7), x(3, 7)]),
        (aten.bmm.default, x(2, 3, 4), x(2, 4, 5)),
        (aten.cumsum.default, x(2, 7), 1),
        (aten.to.dtype, x(2, 7), torch.float32),
        (aten.type_as.default, x(2, 7), held(1)),
        (aten.zeros_like.default, x(2, 7)),
        (aten.dropout.default, x(2, 7), 0.5, False),
    ],
    "in place": [
        (aten.add_.Tensor, x(2, 7), x(7), {"alpha": 3}),
        (aten.mul_.Scalar, x(2, 7), 3),
        (aten.sub_.Tensor, x(2, 7), x(2, 1)),
        (aten.div_.Tensor, x(2, 7), held(7)),
        (aten.relu_.default, x(2, 7)),
        (aten.sigmoid_.default, x(2, 7)),
        (aten.hardtanh_.default, x(2, 7), -0.3, 0.4),
        (aten.leaky_relu_.default, x(2, 7), 0.3),
        (aten.elu_.default, x(2, 7), 0.7),
        (aten.silu_.default, x(2, 7)),
        (aten.hardswish_.default, x(2, 7)),
        (aten.hardsigmoid_.default, x(2, 7)),
        (aten.clamp_.default, x(2, 7), -0.5, 0.2),
        (aten.copy_.default, x(2, 7), x(7)),
        (aten.fill_.Scalar, x(2, 7), 3.0),
        (aten.fill_.Tensor, x(2, 7), x()),
        (aten.zero_.default, x(2, 7)),
        (aten.masked_fill_.Scalar, x(2, 3), Held(torch.tensor([True, False, True])), 2.0),
        (aten.index_add_.default, x(2, 7), 1, index(3, 0), x(2, 2)),
        (aten.dropout_.default, x(2, 7), 0.5, False),
    ],
}  # fmt: skip
ALL = [
    pytest.param(*case, id=f"{key}-{case[0]}-{number}")
    for key, cases in CASES.items()
    for number, case in enumerate(cases)
]
WITHOUT_VALUES = {
    *("sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "_assert_tensor_metadata"),
    *("_assert_async", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size"),
}


def graph_of(overload: Any, given: tuple[Any, ...]) -> tuple[fx.GraphModule, list[Tensor]]:
    """A graph of one call, on copies of its operands, and the operands; it returns these copies, too."""
    graph, root, operands = fx.Graph(), nn.Module(), []
    written: list[fx.Node] = []

    def node(value: Any) -> Any:
        if isinstance(value, Held):
            name = f"held_{len(list(root.children()))}"
            root.add_module(name, value)
            return graph.get_attr(f"{name}.tensor")
        if isinstance(value, Tensor):
            operands.append(value)
            written.append(graph.call_method("clone", (graph.placeholder(f"x{len(operands)}"),)))
            return written[-1]
        return [node(entry) for entry in value] if isinstance(value, list) else value

    kwargs = given[-1] if given and isinstance(given[-1], dict) else {}
    args = tuple(map(node, given[: len(given) - bool(kwargs)]))
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    for placeholder in reversed(placeholders):
        next(iter(graph.nodes)).prepend(placeholder)
    made = graph.call_function(overload, args, kwargs)
    graph.output((made, *written))
    return fx.GraphModule(root, graph), operands


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("overload", "given"), [(p.values[0], p.values[1:]) for p in ALL], ids=[p.id for p in ALL]
)
def test_an_overload_is_captured_as_what_it_computes(overload: Any, given: tuple[Any, ...]) -> None:
    module, operands = graph_of(overload, given)
    with torch.no_grad():
        expected = outputs_of(module(*(operand.clone() for operand in operands)))
        axes = {"x1": (0,)}
        axes.update((f"x{i}", ()) for i in range(2, len(operands) + 1))
        report = rfgraph.analyze(module, operands, axes=axes)
        found = outputs_of(report.fx(*operands))
    assert all(
        node.fx is None or not isinstance(node.fx.target, torch._ops.OpOverload)
        for node in report.captured
    )
    for one, other in zip(found, expected, strict=True):
        if one is not None:  # statistics that nobody reads are not made
            assert one.shape == other.shape and one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert any(torch.is_tensor(one) for one in found)
    replayed = replay(report.captured, dict(zip(report.inputs, operands, strict=True)))
    for path, node in report.outputs.items():
        assert tuple(replayed[node.name].shape) == node.shape, path


COPIES = (
    "lift_fresh_copy",
    "copy",
    "_to_copy",
    "fill",
    "view_copy",
    "slice_scatter",
    "select_scatter",
    "index_put",
)


@pytest.mark.parametrize("name", COPIES)
def test_what_an_overload_copies_shares_no_memory_with_what_it_copies(name: str) -> None:
    """A write into the copy does not show in the operands."""
    for overload, *given in CASES[name]:
        module, operands = graph_of(overload, tuple(given))
        (output,) = (node for node in module.graph.nodes if node.op == "output")
        with module.graph.inserting_before(output):
            module.graph.call_method("add_", (output.args[0][0], 1.0))
        module.recompile()
        report = rfgraph.analyze(
            module, operands, axes={f"x{i}": () for i in range(2, len(operands) + 1)} | {"x1": (0,)}
        )
        with torch.no_grad():
            expected = outputs_of(module(*(operand.clone() for operand in operands)))
            for one, other in zip(outputs_of(report.fx(*operands)), expected, strict=True):
                torch.testing.assert_close(one, other)


def test_every_spelling_of_the_table_is_run() -> None:
    assert set(SPELLINGS) - WITHOUT_VALUES == set(CASES) - {"named", "in place"}
    for key, cases in CASES.items():
        for overload, *_ in cases:
            name = qualified(overload).removeprefix("aten::")
            if key not in ("named", "in place"):
                assert name == key.partition(".")[0]
            else:
                assert name not in SPELLINGS
