"""The block as an operator and a module of PyTorch (1.13 and 2.x, CPU tensors, float32 and bfloat16).

    y = moehill.torch.experts(x, expert_ids, gates, gate_up, down)       # with gradients of x, gates and weights
    layer = moehill.torch.Experts(gate_up, down)                          # the same as a module
    layer = moehill.torch.Experts.replacing(model.mlp.experts)            # for the experts of a Hugging Face model

x [T, H]; expert_ids [T, k], where -1 and E mean nobody's; gates [T, k]; gate_up [E, 2M, H] with gate rows first and
down [E, H, M], as torch.nn.Linear keeps them. Weights are packed for the kernels again when another tensor comes, when an
operation in place has changed them, and after each backward that made their gradients. A change behind PyTorch's back
(through .data or NumPy, without a backward before it) needs `layer.reload()`.
"""
import ctypes as c
import os
import threading
import weakref

import torch

from . import Block, Context, Error, _c

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}
_contexts = {}  # by process, since a forked one needs its own


def default_context():
    """All cores of this process as one device; made when first used, and once a process."""
    if os.getpid() not in _contexts:
        if _contexts:
            raise Error(_c.FORKED, f"context: got a call in process {os.getpid()}, allowed: in the process that first "
                        "used moehill; after a fork make a Context of your own and pass it, or start workers by spawn")
        _contexts[os.getpid()] = Context()
    return _contexts[os.getpid()]


def _refuse(what, got, allowed, remedy):
    raise Error(_c.INVALID_ARGUMENT, f"{what}: got {got}, allowed: {allowed}; {remedy}")


class _Layer:
    """A block for one pair of weights: made for as many tokens as have come, loaded when the weights have changed.
    Whoever calls it holds `lock`, since a step is several calls of the library."""

    def __init__(self, context):
        if context.processes > 1:
            _refuse("context", f"one of {context.processes} processes", "a context of one process, whose weights are all "
                    "here", "use moehill.Block over MPI")
        self.context = context
        self.lock = threading.RLock()
        self.block = None
        self.key = self.loaded = None  # loaded: the weights that the block has, _Seen
        self.step = 0  # of the forward whose state the block has

    def prepare(self, x, topk, gate_up, down, training):
        experts, both, hidden = gate_up.shape
        key = (hidden, both // 2, experts, topk, x.dtype)
        if self.key != key or x.shape[0] > self.max_tokens or training > self.training:
            same = self.key == key
            self.max_tokens = max(x.shape[0], 2 * self.max_tokens if same and x.shape[0] > self.max_tokens else 1,
                                  self.max_tokens if same else 1)
            self.training = training or (same and self.training)
            self.block = self.loaded = self.key = None  # before the next one is made
            self.block = Block(self.context, hidden=hidden, mlp_dim=both // 2, experts=experts, topk=topk,
                               max_tokens=self.max_tokens, dtype=_DTYPES[x.dtype], training=self.training)
            self.key = key
        if not (self.loaded and self.loaded[0].still_is(gate_up) and self.loaded[1].still_is(down)):
            dense = gate_up.contiguous(), down.contiguous()
            weights = _c.Weights(gate_up=dense[0].data_ptr(), down=dense[1].data_ptr(), dtype=_type(gate_up), order=0)
            _c.call("block_load_experts", self.block._handle, 0, experts, c.byref(weights))
            self.loaded = _Seen(gate_up), _Seen(down)

    def forward(self, x, ids, gates, gate_up, down, training):
        self.prepare(x, ids.shape[1], gate_up, down, training)
        y = torch.empty_like(x)
        _c.call("block_plan", self.block._handle, x.shape[0], ids.data_ptr(), gates.data_ptr())
        _c.call("block_forward", self.block._handle, x.data_ptr(), y.data_ptr())
        self.step += 1
        return y

    def backward(self, x, dy, gates):
        dx, d_gates = torch.empty_like(x), torch.empty_like(gates)
        _c.call("block_backward", self.block._handle, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), d_gates.data_ptr())
        self.step += 1  # the state is used up
        return dx, d_gates

    def weight_gradients(self, gate_up, down):
        d_gate_up, d_down = (torch.empty(t.shape, dtype=t.dtype) for t in (gate_up, down))
        struct = _c.Gradients(gate_up=d_gate_up.data_ptr(), down=d_down.data_ptr(), dtype=_type(gate_up), order=0)
        _c.call("block_store_expert_gradients", self.block._handle, 0, gate_up.shape[0], c.byref(struct))
        self.loaded = None  # an optimizer may now change the weights by their .data, which no version tells
        return d_gate_up, d_down


class _Seen:
    """Which tensor it was, where its data lay, and in which version."""

    def __init__(self, tensor):
        self.tensor, self.place = weakref.ref(tensor), tensor.data_ptr()
        self.version = None if tensor.is_inference() else tensor._version  # those of inference mode count none

    def still_is(self, tensor):
        return (self.tensor() is tensor and self.place == tensor.data_ptr() and self.version is not None
                and self.version == tensor._version)


def _type(tensor):
    return _c.F32 if tensor.dtype == torch.float32 else _c.BF16


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gates, gate_up, down, ids, layer, training):
        ctx.layer = layer
        ctx.gates_dtype = gates.dtype
        gates = gates.float().contiguous()
        with layer.lock:
            y = layer.forward(x, ids, gates, gate_up, down, training)
            ctx.step = layer.step
        ctx.save_for_backward(x, gates, gate_up, down, ids)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        x, gates, gate_up, down, ids = ctx.saved_tensors
        layer = ctx.layer
        wanted = ctx.needs_input_grad
        d_gate_up = d_down = None
        with layer.lock:
            if layer.step != ctx.step:  # another forward came between, so what this one kept is made again
                layer.forward(x, ids, gates, gate_up, down, True)
            dx, d_gates = layer.backward(x, dy.to(x.dtype).contiguous(), gates)
            if wanted[2] or wanted[3]:
                d_gate_up, d_down = layer.weight_gradients(gate_up, down)
        return (dx if wanted[0] else None, d_gates.to(ctx.gates_dtype) if wanted[1] else None,
                d_gate_up if wanted[2] else None, d_down if wanted[3] else None, None, None, None)


def _require(x, ids, gates, gate_up, down):
    for name, t in {"x": x, "gates": gates, "gate_up": gate_up, "down": down, "expert_ids": ids}.items():
        if not isinstance(t, torch.Tensor) or t.layout != torch.strided:
            _refuse(name, getattr(t, "layout", type(t).__name__), "a dense tensor", "convert it")
        if t.device.type != "cpu":
            _refuse(name, f"a tensor on {t.device}", "tensors on the CPU", "move it")
    if x.dtype not in _DTYPES or gate_up.dtype != x.dtype or down.dtype != x.dtype:
        _refuse("the types of x, gate_up and down", f"{x.dtype}, {gate_up.dtype}, {down.dtype}",
                "float32 or bfloat16, the same for all", "convert them")
    if gate_up.dim() != 3 or gate_up.shape[1] % 2:
        _refuse("gate_up", f"{tuple(gate_up.shape)}", "[E, 2M, H]", "join gate and up, gate first")
    experts, both, hidden = gate_up.shape
    if tuple(down.shape) != (experts, hidden, both // 2):
        _refuse("down", f"{tuple(down.shape)}", f"[E, H, M] = {(experts, hidden, both // 2)}", "transpose it if it is [E, M, H]")
    if x.dim() != 2 or x.shape[1] != hidden:
        _refuse("x", f"{tuple(x.shape)}", f"[T, {hidden}]", "flatten the tokens")
    if ids.dtype not in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64):
        _refuse("expert_ids", f"{ids.dtype}", "integers", "convert them")
    if ids.numel() and not (-1 <= int(ids.min()) and int(ids.max()) <= experts):
        _refuse("expert_ids", f"{int(ids.min())} to {int(ids.max())}", f"-1 to {experts}", "check the router")
    if ids.dim() != 2 or ids.shape != gates.shape or ids.shape[0] != x.shape[0]:
        _refuse("expert_ids and gates", f"{tuple(ids.shape)} and {tuple(gates.shape)}", f"[{x.shape[0]}, k] both", "check the router")


_layers = {}  # id of gate_up: (a weak reference to it, its layer); tensors are compared element by element, not by hash


def _layer_of(tensor):
    key = id(tensor)
    known = _layers.get(key)
    if known is not None and known[0]() is tensor:
        return known[1]

    def forget(reference):
        if key in _layers and _layers[key][0] is reference:
            del _layers[key]

    _layers[key] = (weakref.ref(tensor, forget), _Layer(default_context()))
    return _layers[key][1]


def experts(x, expert_ids, gates, gate_up, down, layer=None):
    """The sum over a token's choices of gate * down(silu(gate_proj(x)) * up_proj(x)); [T, H]."""
    _require(x, expert_ids, gates, gate_up, down)
    layer = _layer_of(gate_up) if layer is None else layer
    num_experts = gate_up.shape[0]
    ids = expert_ids.to(torch.int32)
    ids = torch.where(ids == num_experts, torch.full_like(ids, -1), ids).contiguous()
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (x, gates, gate_up, down))
    return _Function.apply(x.contiguous(), gates, gate_up, down, ids, layer, training)


class Experts(torch.nn.Module):
    """The experts of a layer. Called as the experts of Hugging Face's models: (hidden_states [T, H], top_k_index [T, k],
    top_k_weights [T, k])."""

    def __init__(self, gate_up_proj, down_proj, context=None):
        super().__init__()
        as_parameter = lambda t: t if isinstance(t, torch.nn.Parameter) else torch.nn.Parameter(t)
        self.gate_up_proj, self.down_proj = as_parameter(gate_up_proj), as_parameter(down_proj)
        self._context, self._layer = context, None

    @classmethod
    def replacing(cls, module, context=None):
        """For a module with gate_up_proj [E, 2M, H] and down_proj [E, H, M], whose parameters it shares. What it cannot
        honour it refuses: biases, transposed or interleaved weights, an activation other than SiLU."""
        for name in ("gate_up_proj", "down_proj"):
            if getattr(module, name, None) is None:
                _refuse("the experts", f"{type(module).__name__} without {name}", "gate_up_proj and down_proj",
                        "use Experts.of_loop for modules of their own")
        for name in ("gate_up_proj_bias", "down_proj_bias"):
            if getattr(module, name, None) is not None:
                _refuse("the experts", f"a bias, {name}", "experts without biases", "leave this layer as it is")
        for name, allowed in (("has_bias", False), ("is_transposed", False), ("experts_are_transposed", False),
                              ("is_concatenated", True), ("has_gate", True)):
            if bool(getattr(module, name, allowed)) != allowed:
                _refuse("the experts", f"{name} = {getattr(module, name)}", f"{allowed}", "leave this layer as it is")
        if any(hasattr(module, name) for name in ("alpha", "limit", "swiglu_limit")):
            _refuse("the experts", "a clamped or scaled activation", "silu(gate) * up", "leave this layer as it is")
        # What it computes counts, not what it is called.
        probe = torch.linspace(-9, 9, 2 * module.down_proj.shape[2]).unsqueeze(0)
        gate, up = probe.chunk(2, dim=-1)
        silu = torch.nn.functional.silu
        for name, given, expected in (("act_fn", gate, silu(gate)), ("_apply_gate", probe, silu(gate) * up)):
            function = getattr(module, name, None)
            if function is not None and not torch.allclose(function(given), expected, atol=1e-5):
                _refuse("the experts", f"another {name} than SiLU and a product", "silu(gate) * up, gate rows first",
                        "leave this layer as it is")
        return cls(module.gate_up_proj, module.down_proj, context)

    @classmethod
    def of_loop(cls, modules, gate="gate_proj", up="up_proj", down="down_proj", context=None):
        """Of a list of modules, an expert each, with three torch.nn.Linear of these names; their weights are copied."""
        for i, module in enumerate(modules):
            for name in (gate, up, down):
                if getattr(module, name).bias is not None:
                    _refuse("the experts", f"a bias in {name} of expert {i}", "experts without biases", "leave this layer as it is")
        with torch.no_grad():
            gate_up = torch.stack([torch.cat([getattr(m, gate).weight, getattr(m, up).weight]) for m in modules])
            downs = torch.stack([getattr(m, down).weight for m in modules])
        return cls(gate_up, downs, context)

    def reload(self):
        """The next forward reads the weights anew."""
        if self._layer is not None:
            self._layer.loaded = None

    def forward(self, hidden_states, top_k_index, top_k_weights):
        if self._layer is None:
            self._layer = _Layer(self._context or default_context())
        return experts(hidden_states, top_k_index, top_k_weights, self.gate_up_proj, self.down_proj, self._layer)

    def __getstate__(self):  # a copy makes a block of its own
        state = self.__dict__.copy()
        state["_layer"] = None
        return state
