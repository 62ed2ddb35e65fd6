"""What rfgraph assumes of torch: each test is one assumption, and names what would break with it.

Nothing of rfgraph is used here. A test that fails after an upgrade of torch says what to look at.
"""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable
from types import MethodDescriptorType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import UninitializedParameter
from torch.overrides import BaseTorchFunctionMode, TorchFunctionMode, is_tensor_method_or_property


class Recorder(Tensor):
    """A wrapper subclass without storage that writes down what reaches it, as a proxy does."""

    seen: list[Any]

    @staticmethod
    def make(*shape: int) -> Recorder:
        made: Recorder = Tensor._make_wrapper_subclass(
            Recorder, shape, dtype=torch.float32, device="cpu"
        )
        made.seen = []
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = next(arg for arg in args if type(arg) is Recorder)
        with torch._C.DisableTorchFunctionSubclass():
            found.seen.append(func)
            if func.__name__ in ("__get__", "size", "dim"):
                return func(*args, **(kwargs or {}))
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} reached the dispatcher")


# --- capture: modules ---------------------------------------------------------------------------


def test_every_module_is_called_by_the_call_of_its_base_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where modules outside the module tree are called, capture replaces it for the time of a trace."""
    original, called = nn.Module.__call__, []

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        called.append(type(module).__name__)
        return original(module, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", call)
    nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())(torch.zeros(1, 1, 5))
    assert called == ["Sequential", "Conv1d", "ReLU"]


def test_a_module_with_a_call_of_its_own_is_called_by_it_and_copied_without() -> None:
    """Capture gives one to every module of the tree; what a forward copies is then a module outside of it."""
    module = nn.ReLU()
    module.__dict__["_compiled_call_impl"] = lambda x: x - 1
    assert module(torch.zeros(())) == -1
    assert nn.Module.__call__(module, torch.zeros(())) == -1
    assert copy.deepcopy(module)(torch.zeros(())) == 0


def test_a_global_hook_is_called_before_any_module_without_a_call_of_its_own() -> None:
    called = []
    hook = register_module_forward_pre_hook(lambda module, _: called.append(type(module).__name__))
    try:
        model = nn.Sequential(nn.Identity(), nn.ReLU())
        model[0].__dict__["_compiled_call_impl"] = lambda x: x
        model(torch.zeros(()))
    finally:
        hook.remove()
    assert called == ["Sequential", "ReLU"]


def test_a_module_keeps_its_state_in_three_dicts_and_its_flag_in_its_own() -> None:
    """The guard looks at two of them in one step, and sets the flag where it is."""
    module = nn.BatchNorm1d(3)
    own = vars(module)
    assert set(own["_parameters"]) == {"weight", "bias"}
    assert set(own["_buffers"]) == {"running_mean", "running_var", "num_batches_tracked"}
    assert own["_modules"] == {}
    assert own["training"] is True
    module.eval()
    assert vars(module)["training"] is False


def test_hooks_are_in_two_dicts_that_are_empty_without_any() -> None:
    """A module with hooks is looked into; one without is taken for its class."""
    module = nn.ReLU()
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    module.register_forward_hook(lambda *_: None)
    module.register_forward_pre_hook(lambda *_: None)
    assert len(module._forward_hooks) == len(module._forward_pre_hooks) == 1


WINDOWED = ("kernel_size", "stride", "padding", "dilation")


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d])
def test_a_convolution_keeps_one_value_a_dim(kind: Callable[..., nn.Module]) -> None:
    """The rules read these attributes of a module by the names of the function's arguments."""
    module = kind(2, 4, 3, stride=2, padding=1)
    rank = module.weight.ndim - 2
    assert [getattr(module, name) for name in WINDOWED] == [
        (value,) * rank for value in (3, 2, 1, 1)
    ]
    assert module.padding_mode == "zeros"
    assert module.output_padding == (0,) * rank


def test_a_convolution_keeps_a_padding_by_name_and_a_pool_what_it_was_given() -> None:
    """`same` is split by the rule; a pool's integer stands for all dims, and no stride for the kernel."""
    assert nn.Conv2d(1, 1, (2, 3), padding="same").padding == "same"
    pool = nn.MaxPool2d(3, padding=1)
    assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 3, 1, False)
    assert nn.MaxPool2d((2, 3)).stride == (2, 3)
    assert nn.AdaptiveAvgPool2d((None, 2)).output_size == (None, 2)


# --- capture: tensors ---------------------------------------------------------------------------


def test_a_wrapper_subclass_answers_its_shape_by_get_without_storage() -> None:
    """A proxy is asked `x.shape` as `Tensor.shape.__get__`, and knows the answer itself."""
    proxy = Recorder.make(1, 3, 8, 5)
    assert isinstance(proxy, Tensor)
    assert proxy.shape == (1, 3, 8, 5)
    assert proxy.size(-1) == 5
    assert proxy.dim() == 4
    names = [func.__name__ for func in proxy.seen]
    assert names == ["__get__", "size", "dim"]
    assert proxy.seen[0].__self__.__name__ == "shape"


def test_functions_methods_and_python_operators_reach_a_subclass_as_themselves() -> None:
    """The vocabulary looks a function up by identity, and a method by its name."""
    proxy = Recorder.make(1, 2, 6)
    weight = torch.zeros(2, 2, 3)
    F.conv1d(proxy, weight)
    torch.relu(proxy)
    F.max_pool1d(proxy, 2)
    proxy.mean(-1)
    proxy[..., 1:]
    proxy + 1
    1 - proxy
    function, activation, _, *methods = proxy.seen
    assert function is F.conv1d
    assert activation is torch.relu
    assert [method.__name__ for method in methods] == ["mean", "__getitem__", "add", "__rsub__"]
    assert all(map(is_tensor_method_or_property, methods))
    assert not is_tensor_method_or_property(F.conv1d)


def test_the_truth_and_the_items_of_a_subclass_are_asked_through_it() -> None:
    """A branch on data must be seen, or it would be decided by a tensor without values."""
    proxy = Recorder.make(1)
    for kind in (bool, float):  # the recorder answers itself, which is neither
        with pytest.raises(TypeError, match=f"non-{kind.__name__}|should return {kind.__name__}"):
            kind(proxy)
    assert proxy.item() is proxy
    assert proxy.tolist() is proxy
    assert [func.__name__ for func in proxy.seen] == ["__bool__", "__float__", "item", "tolist"]


def test_a_function_mode_sees_every_write_by_its_name() -> None:
    """The guard lets in-place calls on the model's own tensors work on shadows."""
    seen: list[str] = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    steps = torch.zeros(3)
    with Mode():
        steps.add_(1)
        steps += 1
        steps[1] = 5
    assert seen == ["add_", "add_", "__setitem__"]


def test_views_have_one_storage_and_a_tensor_can_be_set_onto_another() -> None:
    """The guard knows what shares memory by `_cdata`, and lets writes happen on a copy of all of it."""
    for device in ("cpu", "meta"):
        base = torch.zeros(2, 3, device=device)
        view = base[1].view(3)
        assert view.untyped_storage()._cdata == base.untyped_storage()._cdata
        assert base.clone().untyped_storage()._cdata != base.untyped_storage()._cdata
        whole = torch.empty(0, dtype=torch.uint8, device=device).set_(view.untyped_storage())
        memory = whole.clone().untyped_storage()
        assert memory.nbytes() == 24
        shadow = torch.empty(0, device=device).set_(
            memory, view.storage_offset(), view.size(), view.stride()
        )
        assert shadow.shape == (3,) and shadow.untyped_storage()._cdata == memory._cdata


def test_a_context_of_the_io_library_is_left_by_c_code_that_calls_close() -> None:
    """The guard is left without a line of Python between the body and its own `finally`."""
    assert isinstance(io.IOBase.__exit__, MethodDescriptorType)
    closed: list[int] = []

    class Context(io.IOBase):
        def __init__(self) -> None:
            self.close = lambda: closed.append(1)  # type: ignore[method-assign]

    context = Context()
    with context:
        assert closed == []
    assert closed == [1]


def test_the_stack_of_function_modes_can_be_read_and_set() -> None:
    """The guard gives it back as it was, whatever an interrupt left there."""
    with BaseTorchFunctionMode() as mode:
        assert torch._C._len_torch_function_stack() == 1
        assert torch._C._get_function_stack_at(0) is mode
        torch._C._push_on_torch_function_stack(torch._C._pop_torch_function_stack())
        assert torch._C._get_function_stack_at(0) is mode


def test_a_lazy_parameter_takes_its_data_and_its_class_back() -> None:
    """The guard leaves lazy modules lazy."""
    weight = UninitializedParameter()
    data = weight.data
    weight.materialize((2, 3))
    assert type(weight) is nn.Parameter and weight.shape == (2, 3)
    weight.data, weight.__class__ = data, UninitializedParameter
    weight.materialize((4,))
    assert weight.shape == (4,)


# --- shapes and rules ---------------------------------------------------------------------------


def test_meta_kernels_tell_shapes_without_data() -> None:
    """What has no formula is asked of torch on the meta device."""
    image = torch.empty(1, 2, 9, 7, device="meta")
    made = F.conv2d(image, torch.empty(4, 2, 3, 2, device="meta"), stride=(2, 1))
    assert made.shape == (1, 4, 4, 6)
    assert made.is_meta
    values, indices = image.max(dim=2)
    assert values.shape == indices.shape == (1, 2, 7)
    assert indices.dtype is torch.int64
    with pytest.raises(RuntimeError, match="reduction dim"):
        torch.matmul(torch.empty(2, 3, device="meta"), torch.empty(2, 3, device="meta"))


SPELLINGS = """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d max_pool2d avg_pool2d
    lp_pool2d adaptive_avg_pool2d adaptive_max_pool2d interpolate pad pixel_shuffle pixel_unshuffle
    batch_norm layer_norm group_norm instance_norm local_response_norm rms_norm linear softmax
    scaled_dot_product_attention grid_sample unfold fold dropout relu gelu
"""


@pytest.mark.parametrize("name", SPELLINGS.split())
def test_functional_spellings_exist(name: str) -> None:
    """A spelling that is gone would be left out of the vocabulary without a word."""
    assert callable(getattr(F, name))


def test_a_pool_that_may_return_indices_reaches_a_subclass_by_either_branch() -> None:
    """`F.max_pool2d` is a dispatcher over two functions, and takes their arguments by the same names."""
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    for function in (F._max_pool2d, F.max_pool2d_with_indices):
        assert tuple(inspect.signature(function).parameters) == names


def test_symbolic_trace_and_the_forward_of_a_class_are_what_they_were() -> None:
    """A GraphModule is a module with a forward of its own; a subclass that keeps its base's shares it."""

    class Renamed(nn.Conv2d):
        pass

    traced = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    assert isinstance(traced, nn.Module)
    assert type(traced).forward is not nn.Module.forward
    assert Renamed.forward is nn.Conv2d.forward
    assert list(inspect.signature(nn.Conv2d.forward).parameters) == ["self", "input"]
