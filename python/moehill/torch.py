"""The block as an operator and a module of PyTorch (1.13 and 2.x, CPU tensors, float32 and bfloat16). It runs in one process; over MPI,
use moehill.Block.

    y = moehill.torch.experts(x, expert_ids, gates, gate_up, down)       # with gradients of x, gates and weights
    layer = moehill.torch.Experts(gate_up, down)                          # the same as a module
    layer = moehill.torch.Experts.replacing(model.mlp.experts)            # for the experts of a Hugging Face model
    ids, gates = moehill.torch.Router(experts, topk, score="sigmoid")(logits)   # with the gradient of the logits

Shapes: x [T, H]; expert_ids [T, k], where -1 and E mean no expert; gates [T, k]; gate_up [E, 2M, H] with gate rows first and
down [E, H, M], as torch.nn.Linear keeps them. Form describes other forms of experts. Biases, a shared expert and the products around
experts of another width H' are passed as weights too.

Weights are packed for the kernels. They are packed again in three cases: another tensor comes, an operation in place has changed
them, or a backward has made their gradients. A change that PyTorch does not see (through .data or NumPy, without a backward before it)
needs `layer.reload()`.
"""
import ctypes as c
import dataclasses
import os
import threading
import weakref

import numpy as np
import torch

from . import Block, Context, Error, _c
from . import Router as _Router

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}
_contexts = {}  # by process, since a forked one needs its own


def _refuse_after_fork():
    raise Error(_c.FORKED, f"context: got a call in process {os.getpid()}, allowed: in the process that first used moehill; after a fork "
                "make a Context of your own and pass it, or start workers by spawn")


def default_context():
    """Returns a context with all cores of this process as one device. It is made when it is first used, once. After a fork the child gets an error."""
    if os.getpid() not in _contexts:
        if _contexts:
            _refuse_after_fork()
        _contexts.setdefault(os.getpid(), Context())  # another thread may have been faster
    return _contexts[os.getpid()]


def _refuse(what, got, allowed, remedy):
    raise Error(_c.INVALID_ARGUMENT, f"{what}: got {got}, allowed: {allowed}; {remedy}")


@dataclasses.dataclass(frozen=True)
class Form:
    """What experts compute (moehill_activation), and how their weights lie.

        gpt_oss = Form("swiglu_oai", alpha=1.702, limit=7, transposed=True, interleaved=True)
        y = experts(x, expert_ids, gates, gate_up, down, form=gpt_oss)
    """
    activation: str = "silu"
    gated: bool = True  # False: gate_up is only the gate, [E, M, H]
    limit: float = 0
    alpha: float = 0
    beta: float = 0
    linear_beta: float = 0
    latent_norm: float = 0  # the eps of a norm of the experts' sums; the weights then have latent_norm
    input_weighted: bool = False
    zero_experts: int = 0  # Z: ids E to E + Z - 1 add the token itself, and E + Z means no expert
    transposed: bool = False  # gate_up [E, H, 2M] and down [E, M, H]
    interleaved: bool = False  # gate and up alternate; False: gate comes first

    def described(self):
        """Returns what Block takes of this."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("transposed", "interleaved")}

    def parts(self, name, tensor):
        """Returns [(the library's name, a view)] of the parts of one weight."""
        if not name.startswith(("gate_up", "shared_gate_up")):
            return [({"shared_down": "down"}.get(name, name), tensor)]
        bias = "_bias" if name.endswith("_bias") else ""
        if not self.gated:
            return [("gate" + bias, tensor)]
        if not self.interleaved:
            return [("gate_up" + bias, tensor)]
        axis = tensor.dim() - 1 if self.transposed or bias else tensor.dim() - 2
        pick = lambda i: tensor[(slice(None),) * axis + (slice(i, None, 2),)]
        return [("gate" + bias, pick(0)), ("up" + bias, pick(1))]


_SHARED = ("shared_gate_up", "shared_down", "shared_gate", "latent_down", "latent_up", "latent_norm")
_WEIGHTS = ("gate_up", "down", "gate_up_bias", "down_bias") + _SHARED


class _Memory:
    """Memory for gradients, which is used again when PyTorch has freed it. New pages from the system would take longer than the
    library takes to write the gradients."""

    def __init__(self):
        self.free = {}  # by bytes

    def empty_like(self, tensor):
        size = tensor.numel() * tensor.element_size()
        free = self.free.setdefault(size, [])
        memory = free.pop() if free else np.empty(size, np.uint8)
        lent = memory[:]  # the tensor keeps this array as long as it lives
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent).view(tensor.dtype).view(tensor.shape)


class _Layer:
    """A block for one set of weights. It is made again when more tokens come than it has room for, and loaded again when the weights
    have changed. A caller must hold turn(), because a step is several calls of the library. weights: {name: tensor}."""

    def __init__(self, context):
        if context.processes > 1:
            _refuse("context", f"one of {context.processes} processes", "a context of one process, whose weights are all "
                    "here", "use moehill.Block over MPI")
        self.context = context
        self.process, self.lock = os.getpid(), threading.RLock()
        self.memory = _Memory()
        self.block = None
        self.key = self.loaded = None  # loaded: the weights that the block has, {name: _Seen}
        self.step = 0  # of forwards and backwards that began; the block has the state of a forward if no other followed

    def turn(self):
        """Returns the lock. A forked child must not wait for it and gets an error: another thread of its parent may have held the lock at
        the fork, and then nobody unlocks the child's copy."""
        if os.getpid() != self.process:
            _refuse_after_fork()
        return self.lock

    def prepare(self, x, topk, weights, form, training):
        """Makes the block if it does not fit, and loads the weights if they have changed."""
        experts, down = weights["down"].shape[0], weights["down"]
        hidden, width = down.shape[:0:-1] if form.transposed else down.shape[1:]
        shared = weights["shared_down"].shape[0 if form.transposed else 1] if "shared_down" in weights else 0
        latent, hidden = (hidden, x.shape[1]) if "latent_down" in weights else (0, hidden)
        key = (hidden, latent, width, experts, topk, x.dtype, form, shared, tuple(weights))
        if self.key != key or x.shape[0] > self.max_tokens or training > self.training:
            same = self.key == key
            self.max_tokens = max(x.shape[0], 2 * self.max_tokens if same and x.shape[0] > self.max_tokens else 1,
                                  self.max_tokens if same else 1)
            self.training = training or (same and self.training)
            self.block = self.loaded = self.key = None  # freed before the next block is made
            self.block = Block(self.context, hidden=hidden, mlp_dim=width, experts=experts, topk=topk, shared_dim=shared,
                               max_tokens=self.max_tokens, dtype=_DTYPES[x.dtype], training=self.training,
                               biases="down_bias" in weights, shared_gate="shared_gate" in weights,
                               latent_dim=latent, **form.described())
            self.key = key
        if not (self.loaded and all(self.loaded[name].still_is(t) for name, t in weights.items())):
            self.loaded = None  # a load that fails may have replaced some of the weights
            self.transfer("load", weights, form, x.dtype)
            self.loaded = {name: _Seen(t) for name, t in weights.items()}

    def transfer(self, what, weights, form, dtype):
        """Loads all weights into the block ("load"), or stores all gradients into these tensors ("store")."""
        kind = _c.Weights if what == "load" else _c.Gradients
        for shared in (False, True):
            parts = [(n, view, view.contiguous()) for name, t in weights.items() if (name in _SHARED) == shared
                     for n, view in form.parts(name, t)]
            if not parts:
                continue
            struct = kind(dtype=_c.F32 if dtype == torch.float32 else _c.BF16, order=int(form.transposed),
                          **{n: dense.data_ptr() for n, _, dense in parts})
            call = {"load": "block_load_", "store": "block_store_"}[what] + ("shared" if shared else "expert")
            call += {"load": "" if shared else "s", "store": "_gradients"}[what]
            _c.call(call, self.block._handle, *(() if shared else (0, weights["down"].shape[0])), c.byref(struct))
            for _, view, dense in parts:
                if what == "store" and dense.data_ptr() != view.data_ptr():
                    view.copy_(dense)

    def forward(self, x, ids, gates, weights, form, training):
        self.step += 1  # first, because a forward that fails may have replaced the state of the last one
        self.prepare(x, ids.shape[1], weights, form, training)
        y = torch.empty_like(x)
        _c.call("block_plan", self.block._handle, x.shape[0], ids.data_ptr(), gates.data_ptr())
        _c.call("block_forward", self.block._handle, x.data_ptr(), y.data_ptr())
        return y

    def backward(self, x, dy, gates):
        self.step += 1  # the state is used up, even if the call fails
        dx, d_gates = torch.empty_like(x), torch.empty_like(gates)
        _c.call("block_backward", self.block._handle, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), d_gates.data_ptr())
        return dx, d_gates

    def weight_gradients(self, weights, form, dtype):
        gradients = {name: self.memory.empty_like(t) for name, t in weights.items()}
        self.loaded = None  # an optimizer may now change the weights through .data, and the version would not show it
        self.transfer("store", gradients, form, dtype)
        return gradients


class _Seen:
    """Remembers a tensor, where its data was, and its version, to see whether it has changed."""

    def __init__(self, tensor):
        self.tensor, self.place = weakref.ref(tensor), tensor.data_ptr()
        self.version = None if tensor.is_inference() else tensor._version  # tensors of inference mode have no version

    def still_is(self, tensor):
        return (self.tensor() is tensor and self.place == tensor.data_ptr() and self.version is not None
                and self.version == tensor._version)


def _kind(tensor):
    return f"{tensor.dtype} {tuple(tensor.shape)}"


def _require_same_kinds(tensors, kinds, names):
    """Raises an error if a tensor is not of the kind that the forward had. A change through .data is not seen by PyTorch, and the block
    would write its gradients beyond memory of another size."""
    for name, tensor, kind in zip(("x", "gates", "expert_ids", *names), tensors, kinds):
        if _kind(tensor) != kind:
            _refuse(name, f"{_kind(tensor)} in the backward", f"{kind}, as in the forward", "change its data after the backward")


class _Function(torch.autograd.Function):
    """The block as an operator with gradients of x, the gates and the weights."""
    @staticmethod
    def forward(ctx, x, gates, ids, layer, form, training, names, *weights):
        ctx.layer, ctx.form, ctx.names = layer, form, names
        ctx.gates_dtype = gates.dtype
        gates = gates.float().contiguous()
        with layer.turn():
            y = layer.forward(x, ids, gates, dict(zip(names, weights)), form, training)
            ctx.step = layer.step
        ctx.save_for_backward(x, gates, ids, *weights)
        ctx.kinds = [_kind(t) for t in (x, gates, ids, *weights)]
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        x, gates, ids, *weights = saved = ctx.saved_tensors
        _require_same_kinds(saved, ctx.kinds, ctx.names)
        x, gates, ids = x.contiguous(), gates.contiguous(), ids.contiguous()
        layer, form, named = ctx.layer, ctx.form, dict(zip(ctx.names, weights))
        wanted = ctx.needs_input_grad
        gradients = {}
        with layer.turn():
            if layer.step != ctx.step:  # another forward came between, so the rows that this forward kept are made again
                layer.forward(x, ids, gates, named, form, True)
            dx, d_gates = layer.backward(x, dy.to(x.dtype).contiguous(), gates)
            if any(wanted[7:]):
                gradients = layer.weight_gradients(named, form, x.dtype)
        return (dx if wanted[0] else None, d_gates.to(ctx.gates_dtype) if wanted[1] else None, None, None, None, None, None,
                *(gradients[name] if w else None for name, w in zip(ctx.names, wanted[7:])))


def _require_weights(x, weights, form):
    down = weights["down"]
    if down.dim() != 3 or weights["gate_up"].dim() != 3:
        _refuse("gate_up and down", f"{weights['gate_up'].dim()} and {down.dim()} axes", "three, an expert after the other", "stack them")
    if ("gate_up_bias" in weights) != ("down_bias" in weights):
        _refuse("biases", "one of gate_up_bias and down_bias", "both or none", "pass zeros for the other")
    if ("shared_gate_up" in weights) != ("shared_down" in weights) or ("shared_gate" in weights and "shared_down" not in weights):
        _refuse("the shared expert", ", ".join(n for n in _SHARED if n in weights), "shared_gate_up and shared_down", "pass both")
    if ("latent_down" in weights) != ("latent_up" in weights) or ("latent_norm" in weights) != (form.latent_norm != 0) or (
            "latent_norm" in weights and "latent_up" not in weights):
        _refuse("the products around the experts", ", ".join(n for n in _SHARED[3:] if n in weights) or "none",
                "latent_down and latent_up, and latent_norm with an eps in the form", "pass what belongs together")
    experts = down.shape[0]
    hidden, width = down.shape[:0:-1] if form.transposed else down.shape[1:]
    turned = lambda *shape: shape[::-1] if form.transposed else shape
    both = 2 if form.gated else 1
    shapes = {"gate_up": (experts, *turned(both * width, hidden)), "down": (experts, *turned(hidden, width)),
              "gate_up_bias": (experts, both * width), "down_bias": (experts, hidden)}
    if "latent_down" in weights and weights["latent_down"].dim() == 2:
        latent, hidden = hidden, weights["latent_down"].shape[0 if form.transposed else 1]
        shapes.update(latent_down=turned(latent, hidden), latent_up=turned(hidden, latent), latent_norm=(latent,))
    if "shared_down" in weights and weights["shared_down"].dim() == 2:
        shared = weights["shared_down"].shape[0 if form.transposed else 1]
        shapes.update(shared_gate_up=turned(both * shared, hidden), shared_down=turned(hidden, shared), shared_gate=(hidden,))
    if x.dim() != 2 or x.shape[1] != hidden:
        _refuse("x", f"{tuple(x.shape)}", f"[T, {hidden}], by down {tuple(down.shape)}",
                "flatten the tokens, or transpose down if it is the other way round")
    for name, t in weights.items():
        if t.dtype != x.dtype:
            _refuse(f"the types of x and {name}", f"{x.dtype} and {t.dtype}", "float32 or bfloat16, the same for all", "convert them")
        if tuple(t.shape) != tuple(shapes.get(name, ())):
            _refuse(name, f"{tuple(t.shape)}", f"{tuple(shapes.get(name, ()))}, by down {tuple(down.shape)}",
                    "join gate and up, gate first, or say in the form how they lie; transpose what is the other way round")


def _require(x, ids, gates, weights, form):
    for name, t in {"x": x, "gates": gates, "expert_ids": ids, **weights}.items():
        if not isinstance(t, torch.Tensor) or t.layout != torch.strided:
            _refuse(name, getattr(t, "layout", type(t).__name__), "a dense tensor", "convert it")
        if t.device.type != "cpu":
            _refuse(name, f"a tensor on {t.device}", "tensors on the CPU", "move it")
    if x.dtype not in _DTYPES:
        _refuse("the type of x", f"{x.dtype}", "float32 or bfloat16", "convert it")
    _require_weights(x, weights, form)
    experts = weights["down"].shape[0]
    if ids.dtype not in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64):
        _refuse("expert_ids", f"{ids.dtype}", "integers", "convert them")
    if ids.dim() != 2 or ids.shape != gates.shape or ids.shape[0] != x.shape[0]:
        _refuse("expert_ids and gates", f"{tuple(ids.shape)} and {tuple(gates.shape)}", f"[{x.shape[0]}, k] both", "check the router")


def _library_ids(ids, experts):
    """Returns the ids as int32, with -1 in place of E."""
    given = ids.numpy()
    low, high = (given.min(), given.max()) if given.size else (0, 0)
    if low < -1 or high > experts:
        _refuse("expert_ids", f"{low} to {high}", f"-1 to {experts}", "check the router")
    ids = given.astype(np.int32, order="C")
    if high == experts:
        ids[ids == experts] = -1
    return torch.from_numpy(ids)


def _as_int32(tensor, what):
    """Returns integers as int32; an error if one does not fit, because a conversion would make another id of it."""
    if tensor.is_floating_point() or tensor.is_complex():
        _refuse(what, f"{tensor.dtype}", "integers", "convert them")
    narrow, wide = tensor.to(torch.int32), tensor.to(torch.int64)
    if not torch.equal(narrow.to(torch.int64), wide):
        _refuse(what, f"{wide.min().item()} to {wide.max().item()}", "numbers of 32 bits", "check the ids")
    return narrow.contiguous()


_layers = {}  # id of gate_up: (a weak reference to it, its layer); tensors are compared element by element, not by hash


def _layer_of(tensor):
    """Returns the layer of this gate_up tensor, which lives as long as the tensor."""
    key = id(tensor)
    known = _layers.get(key)
    if known is not None and known[0]() is tensor:
        return known[1]

    def forget(reference):
        if key in _layers and _layers[key][0] is reference:
            del _layers[key]

    _layers[key] = (weakref.ref(tensor, forget), _Layer(default_context()))
    return _layers[key][1]


def experts(x, expert_ids, gates, gate_up, down, layer=None, form=Form(), **more):
    """Returns [T, H]: the sum over a token's choices of gate * down(silu(gate_proj(x)) * up_proj(x)), or what the form says instead.

    more: gate_up_bias [E, 2M] and down_bias [E, H]; shared_gate_up [2S, H], shared_down [H, S] and shared_gate [H] of a shared
    expert; latent_down [H', H], latent_up [H, H'] and latent_norm [H'] around experts whose weights have H' in place of H.
    """
    unknown = set(more) - set(_WEIGHTS)
    if unknown:
        raise TypeError(f"experts() has no {', '.join(sorted(unknown))}")
    given = {"gate_up": gate_up, "down": down, **more}
    weights = {name: given[name] for name in _WEIGHTS if given.get(name) is not None}
    _require(x, expert_ids, gates, weights, form)
    layer = _layer_of(gate_up) if layer is None else layer
    ids = _library_ids(expert_ids, down.shape[0] + form.zero_experts)
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (x, gates, *weights.values()))
    return _Function.apply(x.contiguous(), gates, ids, layer, form, training, tuple(weights), *weights.values())


# The functions that the act_fn of a module may compute.
_ACTIVATIONS = {"silu": torch.nn.functional.silu, "gelu_tanh": lambda g: torch.nn.functional.gelu(g, approximate="tanh"),
                "relu2": lambda g: torch.relu(g).square()}


def _form_of(module):
    """Returns the form that the attributes of a Hugging Face module describe. An attribute that it does not understand is an error."""
    flag = lambda name, default: bool(getattr(module, name, default))
    transposed = flag("is_transposed", False) or flag("experts_are_transposed", False)
    if flag("has_gate", True) is False:
        _refuse("the experts", "has_gate = False", "True", "leave this layer as it is")
    clamped = [name for name in ("alpha", "limit", "swiglu_limit") if hasattr(module, name)]
    if clamped == ["alpha", "limit"]:  # gpt-oss; older versions have no flags but the same layout
        return Form("swiglu_oai", alpha=float(module.alpha), limit=float(module.limit), transposed=flag("is_transposed", True),
                    interleaved=not flag("is_concatenated", False))
    if len(clamped) > 1 or clamped == ["alpha"]:
        _refuse("the experts", f"a clamped or scaled activation ({', '.join(clamped)})", "alpha and limit together, or a limit",
                "leave this layer as it is")
    limit = float(getattr(module, clamped[0]) or 0) if clamped else 0.0
    if not flag("is_concatenated", True):
        _refuse("the experts", "is_concatenated = False", "True, or the alpha and limit of gpt-oss", "leave this layer as it is")
    probe = torch.linspace(-9, 9, 64)  # compares values of the function, because its name may be anything
    act_fn = getattr(module, "act_fn", _ACTIVATIONS["silu"])
    for name, function in _ACTIVATIONS.items():
        if torch.allclose(act_fn(probe), function(probe), atol=1e-6):
            return Form(name, limit=limit, transposed=transposed)
    _refuse("the experts", "another act_fn", ", ".join(_ACTIVATIONS), "leave this layer as it is")


class Experts(torch.nn.Module):
    """The experts of a layer, called like the experts of Hugging Face's models with (hidden_states [T, H], top_k_index [T, k],
    top_k_weights [T, k]). It does not route.

        for block in model.model.layers:
            block.mlp.experts = moehill.torch.Experts.replacing(block.mlp.experts)

    more: the weights of experts() that belong to no single expert, as parameters of the same names.
    """

    def __init__(self, gate_up_proj, down_proj, context=None, form=Form(), gate_up_proj_bias=None, down_proj_bias=None, **more):
        super().__init__()
        if set(more) - set(_SHARED):
            raise TypeError(f"Experts has no {', '.join(sorted(set(more) - set(_SHARED)))}")
        as_parameter = lambda t: t if t is None or isinstance(t, torch.nn.Parameter) else torch.nn.Parameter(t)
        self.gate_up_proj, self.down_proj = as_parameter(gate_up_proj), as_parameter(down_proj)
        self.gate_up_proj_bias, self.down_proj_bias = as_parameter(gate_up_proj_bias), as_parameter(down_proj_bias)
        for name in _SHARED:
            setattr(self, name, as_parameter(more.get(name)))
        self.form, self._context, self._layer = form, context, None

    @classmethod
    def replacing(cls, module, context=None):
        """Returns Experts for a module with gate_up_proj and down_proj, and perhaps biases; both share the parameters. The form
        follows from the module's attributes. The two are then compared on a few tokens, and different results are an error."""
        for name in ("gate_up_proj", "down_proj"):
            if getattr(module, name, None) is None:
                _refuse("the experts", f"{type(module).__name__} without {name}", "gate_up_proj and down_proj",
                        "use Experts.of_loop for modules of their own")
        biases = {name: getattr(module, name, None) for name in ("gate_up_proj_bias", "down_proj_bias")}
        if bool(getattr(module, "has_bias", False)) and None in biases.values():
            _refuse("the experts", "has_bias without gate_up_proj_bias and down_proj_bias", "both", "leave this layer as it is")
        layer = cls(module.gate_up_proj, module.down_proj, context, _form_of(module), **biases)
        layer._require_same(module)
        return layer

    def _require_same(self, module):
        """Raises an error if the module computes something else on four tokens of growing size."""
        down = self.down_proj
        random = torch.Generator().manual_seed(0)
        experts, hidden = down.shape[0], down.shape[2 if self.form.transposed else 1]
        x = torch.randn(4, hidden, generator=random) * torch.tensor([[1.0], [5.0], [25.0], [125.0]])  # large enough to go beyond limits
        x = x.to(down.dtype)
        ids = torch.stack([torch.randperm(experts, generator=random)[:min(2, experts)] for _ in range(4)])
        gates = torch.rand(ids.shape, generator=random).to(down.dtype)
        with torch.no_grad():
            got = self(x, ids, gates)
            try:
                expected = module(x, ids, gates)
            except Exception as error:
                _refuse("the experts", f"{type(module).__name__} that cannot be called with (hidden [T, H], ids [T, k], gates "
                        f"[T, k]): {error}", "the experts of today's models", "leave this layer as it is")
        tolerance = 2e-4 if x.dtype == torch.float32 else 0.1
        size = lambda t: t.float().abs().amax(dim=1)
        if expected.shape != got.shape or not bool((size(expected - got) <= tolerance * size(expected)).all()):
            _refuse("the experts", f"{type(module).__name__} that computes something else than {self.form}", "the same",
                    "leave this layer as it is")

    @classmethod
    def of_loop(cls, modules, gate="gate_proj", up="up_proj", down="down_proj", context=None, form=Form()):
        """Returns Experts for a list of modules, one for each expert, with three torch.nn.Linear of these names. The weights are copied."""
        linears = [[getattr(m, name) for name in (gate, up, down)] for m in modules]
        with_bias = {linear.bias is not None for expert in linears for linear in expert}
        if len(with_bias) > 1:
            _refuse("the experts", "biases in some of their products", "in all or none", "leave this layer as it is")
        with torch.no_grad():
            tensors = [torch.stack([torch.cat([g.weight, u.weight]) for g, u, _ in linears]),
                       torch.stack([d.weight for _, _, d in linears])]
            biases = [torch.stack([torch.cat([g.bias, u.bias]) for g, u, _ in linears]),
                      torch.stack([d.bias for _, _, d in linears])] if with_bias == {True} else [None, None]
        return cls(*tensors, context, form, *biases)

    def reload(self):
        """Makes the next forward read the weights again."""
        if self._layer is not None:
            self._layer.loaded = None

    def forward(self, hidden_states, top_k_index, top_k_weights):
        if self._layer is None:
            self._layer = _Layer(self._context or default_context())
        return experts(hidden_states, top_k_index, top_k_weights, self.gate_up_proj, self.down_proj, self._layer, self.form,
                       gate_up_bias=self.gate_up_proj_bias, down_bias=self.down_proj_bias,
                       **{name: getattr(self, name) for name in _SHARED})

    def __getstate__(self):  # a copy makes its own block
        state = self.__dict__.copy()
        state["_layer"] = None
        return state


class _Route(torch.autograd.Function):
    """The router as an operator with the gradient of the logits."""
    @staticmethod
    def forward(ctx, logits, token_ids, router):
        dense = logits.detach().float().contiguous()
        ids, gates = router.route(dense.numpy(), None if token_ids is None else _as_int32(token_ids, "token_ids").numpy())
        ids, gates = torch.from_numpy(ids), torch.from_numpy(gates)
        ctx.router, ctx.dtype = router, logits.dtype
        ctx.save_for_backward(dense, ids)
        ctx.mark_non_differentiable(ids)
        return ids, gates

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, _, d_gates):
        logits, ids = ctx.saved_tensors
        d_logits = ctx.router.backward(logits.numpy(), ids.numpy(), d_gates.float().contiguous().numpy())
        return torch.from_numpy(d_logits).to(ctx.dtype), None, None


class Router(torch.nn.Module):
    """Makes (expert_ids [T, k] int32, gates [T, k] float32) from logits [T, E], with the gradient of the logits. It does not compute the
    logits. moehill.Router has the rules.

        router = moehill.torch.Router(experts=64, topk=6, score="softmax", normalized=True)
        ids, gates = router(linear(x))

    bias and expert_scale are buffers: they may be changed in place between calls, and have no gradient.
    """

    def __init__(self, experts, topk, bias=None, expert_scale=None, experts_of_id=None, context=None, **rule):
        super().__init__()
        self._experts, self._topk, self._rule, self._context = experts, topk, rule, context
        for name, table in {"bias": bias, "expert_scale": expert_scale, "experts_of_id": experts_of_id}.items():
            self.register_buffer(name, None if table is None else torch.as_tensor(table))
        self._made = None  # (the tables as they were, the router)

    def _router(self):
        tables = {name: t for name, t in self.named_buffers(recurse=False)}
        if not (self._made and all(seen.still_is(tables[name]) for name, seen in self._made[0].items())):
            arrays = {name: (_as_int32(t, name) if name == "experts_of_id" else t.to(torch.float32).contiguous()).numpy()
                      for name, t in tables.items()}
            self._made = ({name: _Seen(t) for name, t in tables.items()},
                          _Router(self._context or default_context(), self._experts, self._topk, **arrays, **self._rule))
        return self._made[1]

    def forward(self, logits, token_ids=None):
        if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or not logits.is_floating_point():
            _refuse("logits", f"{getattr(logits, 'dtype', type(logits).__name__)} {tuple(getattr(logits, 'shape', ()))}",
                    f"numbers [T, {self._experts}]", "flatten the tokens")
        return _Route.apply(logits, token_ids, self._router())

    def __getstate__(self):  # a copy makes its own router
        state = self.__dict__.copy()
        state["_made"] = None
        return state
