"""A Mixture-of-Experts block on the cores of one process or of an MPI job, for NumPy arrays. It has no layers around the
block and no optimizer; moehill.torch joins the block to PyTorch.

    context = moehill.Context(devices=2)
    block = moehill.Block(context, hidden=64, mlp_dim=32, experts=8, topk=2, max_tokens=128, dtype="f32")
    block.load_experts(gate_up=gate_up, down=down)      # [E, 2M, H] and [E, H, M], as torch.nn.Linear keeps them
    block.plan(ids, gates)                              # [T, k] int32 (-1: no expert) and float32
    y = block.forward(x)
    dx, d_gates = block.backward(x, dy)
    d_gate_up, d_down = block.expert_gradients()

Other forms of experts have the names that moehill_block_desc gives them: Block(..., activation="swiglu_oai", limit=7, biases=True).
Router makes ids and gates from logits by the rules of today's models.

Arrays are used where they are and never copied. So they must be C-contiguous and have the right type: float32 or, for bf16,
uint16 or ml_dtypes.bfloat16. Objects that support DLPack are accepted too; as results only if NumPy may write to their memory.
Shapes, threads, MPI and errors are those of moehill/moehill.h; a call that fails raises Error.
"""
import ctypes as c
import functools

import numpy as np

from . import _c
from ._c import Error

__all__ = ["Block", "Context", "Error", "Exchange", "Router", "Stack", "suggest", "version"]


def version():
    """Returns the version of the library that runs, such as "0.1.0"."""
    return _c.library.moehill_version().decode()


def _word(words, value, what):
    """Returns the number of a word; an error for other words."""
    if not isinstance(value, str) or value not in words:
        raise Error(_c.INVALID_ARGUMENT, f"{what}: got {value!r}, allowed: {', '.join(words)}; choose one of these")
    return words[value]


def _array(value, what, kinds, shape):
    """Returns the array itself; an error if it would have to be copied."""
    if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__"):
        try:
            value = np.from_dlpack(value)
        except Exception as error:
            raise Error(_c.INVALID_ARGUMENT, f"{what}: got a {type(value).__name__} that DLPack does not hand over ({error}), "
                        "allowed: a dense one on the CPU; convert it") from error
    if not isinstance(value, np.ndarray):
        raise Error(_c.INVALID_ARGUMENT, f"{what}: got {type(value).__name__}, allowed: a NumPy array; convert it")
    if not value.dtype.isnative:
        raise Error(_c.INVALID_ARGUMENT,
                    f"{what}: got {value.dtype.str}, allowed: this machine's order of bytes; use astype")
    if value.dtype.name not in kinds or not value.flags.c_contiguous or value.shape != tuple(shape):
        raise Error(_c.INVALID_ARGUMENT,
                    f"{what}: got {value.dtype.name} {value.shape}{'' if value.flags.c_contiguous else ' with gaps'}, "
                    f"allowed: {' or '.join(kinds)} {tuple(shape)} without gaps; use numpy.ascontiguousarray")
    return value


def _length(array, what):
    """Returns the length of the leading axis."""
    shape = getattr(array, "shape", ())
    if not shape:
        raise Error(_c.INVALID_ARGUMENT, f"{what}: got {type(array).__name__} without axes, allowed: a NumPy array; convert it")
    return shape[0]


def _kinds(dtype):
    """Returns the names of the NumPy types that hold this moehill_dtype."""
    return ("float32",) if dtype == _c.F32 else ("uint16", "bfloat16")


def _dtype_of(arrays, what):
    """Returns the one moehill_dtype that all arrays have."""
    kinds = {str(getattr(a, "dtype", type(a).__name__)).replace("torch.", "") for a in arrays if a is not None}
    if kinds == {"float32"}:
        return _c.F32
    if kinds and kinds <= {"uint16", "bfloat16"}:
        return _c.BF16
    raise Error(_c.INVALID_ARGUMENT, f"{what}: got {', '.join(sorted(kinds)) or 'none'}, allowed: float32, or uint16 and "
                "bfloat16 for bf16; convert them")


def _writable(array, what):
    if not array.flags.writeable:
        raise Error(_c.INVALID_ARGUMENT, f"{what}: got a read-only array, allowed: one that can be written; copy it")
    return array


def _point(struct, name, array):
    """Sets a pointer of the struct to the array's memory, which then lives as long as the struct. The array may be the only owner of
    that memory, as when a caller passes a temporary one, or when DLPack hands over a copy."""
    setattr(struct, name, array.ctypes.data)
    vars(struct).setdefault("arrays", []).append(array)


def _collective(name):
    """Decorates methods that make the collective call `name`. If Python finds an error before the call, the other processes would
    wait for this one, so it makes a call that the library refuses everywhere."""
    def wrap(method):
        @functools.wraps(method)
        def call(self, *arguments, **named):
            try:
                return method(self, *arguments, **named)
            except Exception as error:
                if self._processes > 1 and not getattr(error, "of_library", False):
                    _c.refuse(name, self._handle)
                raise
        return call
    return wrap


class _Handle:
    """Owns a handle of the library, and destroys it at the end. It cannot be copied."""

    def __reduce__(self):  # for copy and pickle
        raise Error(_c.INVALID_ARGUMENT, f"{type(self).__name__}: got a copy of one, allowed: the object itself; make another one")

    def __init__(self, kind, *arguments):
        self._kind = kind
        self._handle = c.c_void_p()
        _c.call(kind + "_create", *arguments, c.byref(self._handle))

    def __del__(self):
        if getattr(self, "_handle", None) and _c is not None:
            getattr(_c.library, f"moehill_{self._kind}_destroy")(self._handle)
            self._handle = None


class Context(_Handle):
    """The devices of this process, each a team of threads. With mpi_comm (of mpi4py) each process has one device.

        context = moehill.Context(devices=2, threads_per_device=4)
        context = moehill.Context(mpi_comm=MPI.COMM_WORLD)

    Calls on objects of one context wait for each other. Python's lock is free during every call.
    """

    def __init__(self, devices=1, threads_per_device=0, pinning=False, mpi_comm=None):
        options = _c.ContextOptions()
        _c.library.moehill_context_options_init_sized(c.byref(options), c.sizeof(options))
        options.devices, options.pinning = _c.fitting(devices, "devices"), int(bool(pinning))
        options.threads_per_device = _c.fitting(threads_per_device, "threads_per_device")
        if mpi_comm is not None:
            from mpi4py import MPI
            options.mpi_comm, options.mpi_comm_size = MPI._addressof(mpi_comm), MPI._sizeof(MPI.Comm)
        super().__init__("context", c.byref(options))
        info = _c.ContextInfo()
        _c.call("context_get_info", self._handle, c.byref(info))
        self.devices, self.threads_per_device = info.devices, info.threads_per_device
        self.rank, self.processes = info.rank, info.processes


def _handle_of(context):
    if not isinstance(context, Context):
        raise Error(_c.INVALID_ARGUMENT, f"context: got {type(context).__name__}, allowed: a Context; make one")
    return context._handle


def _desc(hidden, mlp_dim, experts, topk, max_tokens, shared_dim=0, dtype="bf16", training=True, path="auto",
          recompute="none", activation="silu", gated=True, biases=False, shared_gate=False, input_weighted=False,
          zero_experts=0, latent_dim=0, **constants):
    desc = _c.BlockDesc()
    _c.library.moehill_block_desc_init_sized(c.byref(desc), c.sizeof(desc))
    for name, value in (("hidden", hidden), ("mlp_dim", mlp_dim), ("max_tokens", max_tokens), ("shared_dim", shared_dim),
                        ("latent_dim", latent_dim)):
        setattr(desc, name, _c.fitting(value, name, 64))
    desc.experts, desc.topk, desc.training = _c.fitting(experts, "experts"), _c.fitting(topk, "topk"), int(bool(training))
    desc.dtype = _word({"f32": _c.F32, "bf16": _c.BF16}, dtype, "dtype")
    desc.path = _word(_c.PATHS, path, "path")
    desc.recompute = _word(_c.RECOMPUTES, recompute, "recompute")
    desc.activation = _word(_c.ACTIVATIONS, activation, "activation")
    for name, value in {"gated": gated, "biases": biases, "shared_gate": shared_gate, "input_weighted": input_weighted}.items():
        setattr(desc, name, int(bool(value)))
    desc.zero_experts = _c.fitting(zero_experts, "zero_experts")
    for name, value in constants.items():
        if name not in ("limit", "alpha", "beta", "linear_beta", "latent_norm"):
            raise TypeError(f"a block has no {name!r}")
        setattr(desc, name, _c.number(value, name))
    return desc


def _desc_for(context, kind, *sizes, **more):
    """Returns the description. An error in it is an error in all processes."""
    handle = _handle_of(context)
    try:
        return _desc(*sizes, **more)
    except Exception:
        if context.processes > 1:
            getattr(_c.library, f"moehill_{kind}_create")(handle, None, c.byref(c.c_void_p()))
        raise


def suggest(context, tokens, hardware=None, **sizes):
    """Returns (path, predicted seconds of a step, {path: seconds}) for a block of these sizes, as moehill_suggest does.

        path, seconds, of_paths = moehill.suggest(context, 512, hidden=1024, mlp_dim=512, experts=16, topk=4, max_tokens=512)
    """
    desc = _desc(**sizes)
    suggestion = _c.Suggestion()
    name = None if hardware is None else _c.text(hardware, "hardware")
    _c.call("suggest", _handle_of(context), c.byref(desc), tokens, name, c.byref(suggestion))
    names = {number: name for name, number in _c.PATHS.items()}
    seconds = {names[i]: s for i, s in enumerate(suggestion.seconds_of) if s > 0}
    return names[suggestion.path], suggestion.seconds, seconds


def _plan_arrays(ids, gates, topk):
    ids = _array(ids, "expert ids", ("int32",), (_length(ids, "expert ids"), topk))
    return ids, _array(gates, "gates", ("float32",), ids.shape)


def _require_plan(tokens, kind):
    """Raises an error if the last plan did not come to its end here. The library may have a plan nevertheless, as after Ctrl-C, and
    its sizes are then not known here, so nothing may be passed on that the library reads or fills by them."""
    if tokens is None:
        raise Error(_c.WRONG_ORDER, f"{kind}: got no plan since the last error, allowed: after a plan; call moehill_{kind}_plan first")


class Block(_Handle):
    """A Mixture-of-Experts block with its weights and gradients. Arrays with a row for each token are [T, H], those with its choices
    [T, k]. A step is plan, forward and, in training, backward. Threads that share a block need their own lock around a step.

    sizes: hidden, mlp_dim, experts, topk, max_tokens, and optional members of moehill_block_desc by name.
    """

    def __init__(self, context, **sizes):
        self._desc, self._processes = _desc_for(context, "block", **sizes), context.processes
        super().__init__("block", context._handle, c.byref(self._desc))
        info = _c.BlockInfo()
        _c.call("block_get_info", self._handle, c.byref(info))
        self.first_expert, self.num_experts = info.first_expert, info.num_experts
        self.path = {number: name for name, number in _c.PATHS.items()}[info.path]
        self.tokens_are_replicated = bool(info.tokens_are_replicated)
        self.bytes = info.weight_bytes + info.gradient_bytes + info.work_bytes
        self._tokens = None  # of the plan

    def _shapes(self, width, order="out_in", routed=True):
        outer, inner = self._desc.hidden, self._desc.latent_dim
        h = inner if routed and inner else outer
        shapes = {"gate": (width, h), "up": (width, h), "gate_up": (2 * width, h), "down": (h, width),
                  "latent_down": (inner, outer), "latent_up": (outer, inner)}
        if _word(_c.ORDERS, order, "order") == 1:
            shapes = {name: shape[::-1] for name, shape in shapes.items()}
        return dict(shapes, gate_bias=(width,), up_bias=(width,), gate_up_bias=(2 * width,), down_bias=(h,), shared_gate=(h,),
                    latent_norm=(inner,))

    def _weights(self, arrays, leading, width, order):
        shapes = self._shapes(width, order, bool(leading))
        dtype = _dtype_of(arrays.values(), "the weights' types")
        struct = _c.Weights(dtype=dtype, order=_c.ORDERS[order])
        for name, array in arrays.items():
            if array is not None:
                _point(struct, name, _array(array, name, _kinds(dtype), leading + shapes[name]))
        return struct

    def load_experts(self, first=None, gate_up=None, down=None, gate=None, up=None, order="out_in", gate_up_bias=None,
                     down_bias=None, gate_bias=None, up_bias=None):
        """Loads the weights of experts from `first` on (default: the first of this process). The leading axis counts experts."""
        arrays = {"gate": gate, "up": up, "gate_up": gate_up, "down": down, "gate_bias": gate_bias, "up_bias": up_bias,
                  "gate_up_bias": gate_up_bias, "down_bias": down_bias}
        count = next((_length(a, name) for name, a in arrays.items() if a is not None), 0)
        struct = self._weights(arrays, (count,), self._desc.mlp_dim, order)
        first = self.first_expert if first is None else first
        _c.call("block_load_experts", self._handle, first, count, c.byref(struct))

    def load_shared(self, gate_up=None, down=None, gate=None, up=None, order="out_in", shared_gate=None, latent_down=None,
                    latent_up=None, latent_norm=None):
        """Loads the weights of the shared expert. In a block with a latent_dim H' this also loads latent_down [H', H],
        latent_up [H, H'] and latent_norm [H']."""
        arrays = {"gate": gate, "up": up, "gate_up": gate_up, "down": down, "shared_gate": shared_gate,
                  "latent_down": latent_down, "latent_up": latent_up, "latent_norm": latent_norm}
        struct = self._weights(arrays, (), self._desc.shared_dim, order)
        _c.call("block_load_shared", self._handle, c.byref(struct))

    def _gradients(self, out, leading, width, vectors, name, *arguments):
        """Returns arrays that the call `name` has filled: for gate and up, or gate only, for down, and for the vectors."""
        first, shapes = "gate_up" if self._desc.gated else "gate", self._shapes(width, routed=bool(leading))
        names = (*((first, "down") if width else ()), *(v.replace("first", first) for v in vectors))
        if out is None:
            out = tuple(np.empty(leading + shapes[n], np.float32) for n in names)
        if len(out) != len(names):
            raise Error(_c.INVALID_ARGUMENT, f"out: got {len(out)} arrays, allowed: {', '.join(names)}; pass one for each")
        dtype = _dtype_of(out, "the gradients' types")
        arrays = {n: _writable(_array(a, "d_" + n, _kinds(dtype), leading + shapes[n]), "d_" + n) for n, a in zip(names, out)}
        struct = _c.Gradients(dtype=dtype, **{n: array.ctypes.data for n, array in arrays.items()})
        _c.call(name, self._handle, *arguments, c.byref(struct))
        return tuple(arrays.values())

    def expert_gradients(self, out=None):
        """Returns (d_gate_up [E, 2M, H], d_down [E, H, M]) of this process's experts; with biases (d_gate_up, d_down, d_gate_up_bias,
        d_down_bias). Experts that are not gated have d_gate [E, M, H] in place of d_gate_up. The arrays are new ones of float32, or
        those of `out`."""
        return self._gradients(out, (self.num_experts,), self._desc.mlp_dim, ("first_bias", "down_bias") if self._desc.biases else (),
                               "block_store_expert_gradients", self.first_expert, self.num_experts)

    @_collective("block_store_shared_gradients")
    def shared_gradients(self, out=None):
        """Returns (d_gate_up [2S, H], d_down [H, S]) as expert_gradients() does; with a gate also d_shared_gate [H], with a latent_dim also
        d_latent_down [H', H] and d_latent_up [H, H'], and with its norm also d_latent_norm [H']."""
        there = {"shared_gate": self._desc.shared_gate, "latent_down": self._desc.latent_dim,
                 "latent_up": self._desc.latent_dim, "latent_norm": self._desc.latent_norm}
        return self._gradients(out, (), self._desc.shared_dim, tuple(n for n, is_there in there.items() if is_there),
                               "block_store_shared_gradients")

    @_collective("block_plan")
    def plan(self, ids, gates):
        """Sets the routing of the next passes: ids [T, k] int32, where -1 means no expert, and gates [T, k] float32. Both are copied."""
        ids, gates = _plan_arrays(ids, gates, self._desc.topk)
        self._tokens = None
        _c.call("block_plan", self._handle, len(ids), ids.ctypes.data, gates.ctypes.data)
        self._tokens = len(ids)

    def _rows(self, array, what):
        _require_plan(self._tokens, "block")
        return _array(array, what, _kinds(self._desc.dtype), (self._tokens, self._desc.hidden))

    @_collective("block_forward")
    def forward(self, x, out=None):
        """Returns y [T, H], in a new array or in `out`."""
        x = self._rows(x, "x")
        out = np.empty_like(x) if out is None else _writable(self._rows(out, "out"), "out")
        _c.call("block_forward", self._handle, x.ctypes.data, out.ctypes.data)
        return out

    @_collective("block_backward")
    def backward(self, x, dy, dx=None, d_gates=None):
        """Returns (dx, d_gates). x must be the array of the last forward, with the same values. The block keeps the weights' gradients."""
        x, dy = self._rows(x, "x"), self._rows(dy, "dy")
        dx = np.empty_like(x) if dx is None else _writable(self._rows(dx, "dx"), "dx")
        shape = (len(x), self._desc.topk)
        if d_gates is None:
            d_gates = np.empty(shape, np.float32)
        else:
            d_gates = _writable(_array(d_gates, "d_gates", ("float32",), shape), "d_gates")
        _c.call("block_backward", self._handle, x.ctypes.data, dy.ctypes.data, dx.ctypes.data, d_gates.ctypes.data)
        return dx, d_gates


class Router(_Handle):
    """Makes choices of experts and gate values from logits [T, E] float32, and the gradient of the logits from that of the gates.

        router = moehill.Router(context, experts=64, topk=6, score="softmax", normalized=True)
        ids, gates = router.route(logits)
        d_logits = router.backward(logits, ids, d_gates)

    moehill_router_desc has the rules. score is "chosen_softmax", "softmax", "sigmoid", "sqrt_softplus" or "sparsemixer"; the last has
    a jitter and no other rule. bias and expert_scale [E] float32 and experts_of_id [ids, k] int32 are copied. The other rules are
    groups, kept_groups, group_rank, normalized, least_sum and factor.
    """

    def __init__(self, context, experts, topk, score="chosen_softmax", bias=None, expert_scale=None, experts_of_id=None,
                 normalized=False, **rule):
        desc = _c.RouterDesc()
        _c.library.moehill_router_desc_init_sized(c.byref(desc), c.sizeof(desc))
        desc.experts, desc.topk = _c.fitting(experts, "experts"), _c.fitting(topk, "topk")
        desc.score, desc.normalized = _word(_c.SCORES, score, "score"), int(bool(normalized))
        for name, value in rule.items():
            if name in ("groups", "kept_groups", "group_rank"):
                setattr(desc, name, _c.fitting(value, name))
            elif name in ("least_sum", "factor", "jitter"):
                setattr(desc, name, _c.number(value, name))
            else:
                raise TypeError(f"a router has no {name!r}")
        if experts_of_id is not None:
            desc.num_ids = _length(experts_of_id, "experts_of_id")
        shapes = {"bias": (experts,), "expert_scale": (experts,), "experts_of_id": (desc.num_ids, topk)}
        for (name, shape), array in zip(shapes.items(), (bias, expert_scale, experts_of_id)):
            if array is not None:
                _point(desc, name, _array(array, name, ("int32" if name == "experts_of_id" else "float32",), shape))
        super().__init__("router", _handle_of(context), c.byref(desc))
        self._experts, self._topk = desc.experts, desc.topk  # numbers: an array that counts them could be written to

    def set_bias(self, bias):
        """Replaces the bias [E] float32, as training does that balances experts without a loss."""
        bias = _array(bias, "bias", ("float32",), (self._experts,))
        _c.call("router_set_bias", self._handle, bias.ctypes.data)

    def _logits(self, logits):
        return _array(logits, "logits", ("float32",), (_length(logits, "logits"), self._experts))

    def route(self, logits, token_ids=None):
        """Returns (ids [T, k] int32, gates [T, k] float32). token_ids [T] int32 is for a router with a table."""
        logits = self._logits(logits)
        ids, gates = np.empty((len(logits), self._topk), np.int32), np.empty((len(logits), self._topk), np.float32)
        if token_ids is not None:
            token_ids = _array(token_ids, "token_ids", ("int32",), (len(logits),))
        # The name keeps the array until the call is over, since this function may be the only one that has it.
        of_tokens = None if token_ids is None else token_ids.ctypes.data
        _c.call("router_route", self._handle, len(logits), logits.ctypes.data, of_tokens, ids.ctypes.data, gates.ctypes.data)
        return ids, gates

    def backward(self, logits, ids, d_gates):
        """Returns d_logits for the ids that route() returned. For a choice that was dropped since then, d_gates must be 0."""
        logits = self._logits(logits)
        ids = _array(ids, "expert ids", ("int32",), (len(logits), self._topk))
        d_gates = _array(d_gates, "d_gates", ("float32",), ids.shape)
        d_logits = np.empty_like(logits)
        _c.call("router_backward", self._handle, len(logits), logits.ctypes.data, ids.ctypes.data, d_gates.ctypes.data,
                d_logits.ctypes.data)
        return d_logits


class Exchange(_Handle):
    """Brings rows of tokens to experts of your own, and sums their results. It has no experts itself. Threads that share an exchange
    need their own lock around a step.

        rows = exchange.plan(ids, gates)                       # the number of rows that come here
        inputs = exchange.dispatch(x)                          # [rows, H]; those of expert i: offsets[i] to offsets[i + 1]
        y = exchange.combine(your_experts(inputs, exchange.offsets))
    """

    def __init__(self, context, hidden, experts, topk, max_tokens, dtype="bf16"):
        self._desc = _desc_for(context, "exchange", hidden, 1, experts, topk, max_tokens, dtype=dtype)
        self._processes = context.processes
        super().__init__("exchange", context._handle, c.byref(self._desc))
        first, count = c.c_int32(), c.c_int32()
        _c.call("exchange_get_experts", self._handle, c.byref(first), c.byref(count))
        self.first_expert, self.num_experts = first.value, count.value
        self._tokens = None  # of the plan
        self._take_offsets(np.zeros(count.value + 1, np.int64))

    def _take_offsets(self, offsets):
        """Keeps the numbers that size the arrays of later calls apart from the offsets, which a caller gets to read. The library fills
        those arrays by its own plan, whatever a caller writes to the offsets."""
        self._num_offsets, self._num_rows = len(offsets), int(offsets[-1])
        offsets.flags.writeable = False
        self.offsets = offsets  # rows of expert i: offsets[i] to offsets[i + 1]

    @_collective("exchange_plan")
    def plan(self, ids, gates):
        """Returns the number of rows that come to the experts of this process."""
        ids, gates = _plan_arrays(ids, gates, self._desc.topk)
        self._tokens, rows, offsets = None, c.c_int64(), np.zeros(self._num_offsets, np.int64)
        _c.call("exchange_plan", self._handle, len(ids), ids.ctypes.data, gates.ctypes.data, c.byref(rows),
                offsets.ctypes.data)
        self._take_offsets(offsets)
        self._tokens = len(ids)
        return rows.value

    def _new(self, like, rows):
        return np.empty((rows, self._desc.hidden), like.dtype)

    def _checked(self, array, what, rows):
        _require_plan(self._tokens, "exchange")
        return _array(array, what, _kinds(self._desc.dtype), (rows, self._desc.hidden))

    @_collective("exchange_dispatch")
    def dispatch(self, x):
        """Returns the rows [R, H] of the tokens x [T, H], ordered by expert and then by token."""
        x = self._checked(x, "x", self._tokens)
        rows = self._new(x, self._num_rows)
        _c.call("exchange_dispatch", self._handle, x.ctypes.data, rows.ctypes.data)
        return rows

    @_collective("exchange_combine")
    def combine(self, rows):
        """Returns y [T, H], for each token the sum of its rows times their gate values."""
        rows = self._checked(rows, "rows", self._num_rows)
        y = self._new(rows, self._tokens)
        _c.call("exchange_combine", self._handle, rows.ctypes.data, y.ctypes.data)
        return y

    @_collective("exchange_combine_backward")
    def combine_backward(self, dy, rows):
        """Returns (d_rows, d_gates), the gradients of combine(rows) for the gradient dy of its result."""
        dy, rows = self._checked(dy, "dy", self._tokens), self._checked(rows, "rows", self._num_rows)
        d_rows, d_gates = np.empty_like(rows), np.empty((len(dy), self._desc.topk), np.float32)
        _c.call("exchange_combine_backward", self._handle, dy.ctypes.data, rows.ctypes.data, d_rows.ctypes.data,
                d_gates.ctypes.data)
        return d_rows, d_gates

    @_collective("exchange_dispatch_backward")
    def dispatch_backward(self, d_rows):
        """Returns dx [T, H], the gradient of dispatch: the sum of each token's d_rows, without gate values."""
        d_rows = self._checked(d_rows, "d_rows", self._num_rows)
        dx = self._new(d_rows, self._tokens)
        _c.call("exchange_dispatch_backward", self._handle, d_rows.ctypes.data, dx.ctypes.data)
        return dx


class Stack(_Handle):
    """G matrices [K, N], packed, with the grouped products: only the GEMM of a block, on the first device of this process.

        stack = moehill.Stack(context, groups=8, k=64, n=32, dtype="f32")
        stack.load(matrices)                       # [8, 64, 32]
        c = stack.forward(offsets, a)              # c[r] = a[r] @ matrices[g] for the rows r of group g

    offsets [G + 1] int64: group g has rows offsets[g] to offsets[g + 1] of the operands. index [R] int32 is optional: then row i of an
    operand is row index[i] of the array, or a row of zeros for -1.
    """

    def __init__(self, context, groups, k, n, dtype="bf16"):
        self._dtype = _word({"f32": _c.F32, "bf16": _c.BF16}, dtype, "dtype")
        self._groups = _c.fitting(groups, "groups")  # numbers: an array that counts them could be written to
        self._k, self._n = _c.fitting(k, "k", 64), _c.fitting(n, "n", 64)
        super().__init__("stack", _handle_of(context), self._groups, self._k, self._n, self._dtype)

    def _matrices(self, array, order):
        shape = (self._k, self._n) if _word(_c.ORDERS, order, "order") else (self._n, self._k)
        dtype = _dtype_of([array], "the matrices' type")
        return _array(array, "matrices", _kinds(dtype), (_length(array, "matrices"), *shape)), dtype

    def load(self, matrices, first=0, order="in_out"):
        """Loads matrices [count, K, N], or [count, N, K] with the order "out_in", from number `first` on."""
        matrices, dtype = self._matrices(matrices, order)
        _c.call("stack_load", self._handle, first, len(matrices), matrices.ctypes.data, dtype, _c.ORDERS[order])

    def store(self, first=0, count=None, order="in_out"):
        """Returns matrices [count, K, N] float32; without count all from `first` on."""
        first = _c.fitting(first, "first")
        count = self._groups - first if count is None else _c.fitting(count, "count")
        shape = (self._k, self._n) if _word(_c.ORDERS, order, "order") else (self._n, self._k)
        matrices = np.empty((max(count, 0), *shape), np.float32)
        _c.call("stack_store", self._handle, first, count, matrices.ctypes.data, _c.F32, _c.ORDERS[order])
        return matrices

    def _rows(self, array, index, what, columns, num_rows):
        array = _array(array, what, _kinds(self._dtype), (_length(array, what), columns))
        rows = _c.Rows(num_rows=len(array))
        _point(rows, "data", array)
        if index is not None:
            _point(rows, "index", _array(index, f"index of {what}", ("int32",), (num_rows,)))
        return rows, array.dtype

    def _offsets(self, offsets):
        """Returns the offsets as an array, and the number of rows by them. The stack does not keep that number, since threads may share
        a stack."""
        offsets = _array(offsets, "offsets", ("int64",), (self._groups + 1,))
        num_rows = int(offsets[-1])
        return offsets, num_rows if 0 <= num_rows < 1 << 31 else 0  # the library refuses the others

    def forward(self, offsets, a, index=None):
        """Returns c [R, N] = A_g W_g."""
        return self._product("gemm_forward", offsets, (a, index, "a", self._k), self._n)

    def input_grad(self, offsets, dc, index=None):
        """Returns da [R, K] = dC_g W_g^T."""
        return self._product("gemm_input_grad", offsets, (dc, index, "dc", self._n), self._k)

    def _product(self, name, offsets, operand, columns):
        offsets, num_rows = self._offsets(offsets)
        rows, dtype = self._rows(*operand, num_rows)
        out = np.empty((num_rows, columns), dtype)
        _c.call(name, self._handle, offsets.ctypes.data, c.byref(rows), out.ctypes.data)
        return out

    def take_weight_grad(self, offsets, a, dc, a_index=None, dc_index=None):
        """Sets this stack to A_g^T dC_g; a group without rows gets zeros."""
        offsets, num_rows = self._offsets(offsets)
        left, _ = self._rows(a, a_index, "a", self._k, num_rows)
        right, _ = self._rows(dc, dc_index, "dc", self._n, num_rows)
        _c.call("gemm_weight_grad", self._handle, offsets.ctypes.data, c.byref(left), c.byref(right))
