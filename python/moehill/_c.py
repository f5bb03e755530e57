"""The C interface (moehill/moehill.h) through ctypes, which releases Python's lock during every call. It is for the other modules of
this package: numbers, structs and function types as in the header, and errors as exceptions. It knows nothing of arrays.
"""
import ctypes as c
import glob
import operator
import os
import pathlib

OK, INVALID_ARGUMENT, WRONG_ORDER, OUT_OF_MEMORY, UNSUPPORTED, PEER_FAILED, FORKED, BROKEN, INTERNAL = range(9)
F32, BF16 = 0, 1
ORDERS = {"out_in": 0, "in_out": 1}
PATHS = {"auto": 0, "data_parallel": 1, "compact_psum": 2, "dense_masked": 3, "ring_ag_rs": 4, "ragged_a2a": 5, "fused": 6, "hierarchical": 7}
RECOMPUTES = {"none": 0, "combine": 1, "expert_mlp": 2}
ACTIVATIONS = {"silu": 0, "swiglu_oai": 1, "gelu_tanh": 2, "relu2": 3, "situ": 4}
SCORES = {"chosen_softmax": 0, "softmax": 1, "sigmoid": 2, "sqrt_softplus": 3, "sparsemixer": 4}


class Error(RuntimeError):
    """Every call that fails raises this. The message says what was wrong, what is allowed, and a remedy; `status` is a moehill_status."""

    def __init__(self, status, message, of_library=False):
        super().__init__(message)
        self.status = status
        self.of_library = of_library  # True: the library found it; False: this package did, which checks arrays first


class _Sized(c.Structure):
    """A struct that begins with its size. The size tells the library which members the caller knows."""

    def __init__(self, **members):
        super().__init__(struct_size=c.sizeof(self), **members)


class ContextOptions(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("devices", c.c_int32), ("threads_per_device", c.c_int32),
                ("pinning", c.c_int32), ("mpi_comm", c.c_void_p), ("mpi_comm_size", c.c_size_t)]


class ContextInfo(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("devices", c.c_int32), ("threads_per_device", c.c_int32),
                ("rank", c.c_int32), ("processes", c.c_int32), ("is_pinned", c.c_int32)]


class BlockDesc(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("hidden", c.c_int64), ("mlp_dim", c.c_int64), ("experts", c.c_int32),
                ("topk", c.c_int32), ("shared_dim", c.c_int64), ("max_tokens", c.c_int64), ("dtype", c.c_int32),
                ("training", c.c_int32), ("path", c.c_int32), ("recompute", c.c_int32), ("activation", c.c_int32),
                ("gated", c.c_int32), ("limit", c.c_double), ("alpha", c.c_double), ("beta", c.c_double),
                ("linear_beta", c.c_double), ("biases", c.c_int32), ("shared_gate", c.c_int32), ("input_weighted", c.c_int32),
                ("zero_experts", c.c_int32), ("latent_dim", c.c_int64), ("latent_norm", c.c_double)]


class RouterDesc(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("experts", c.c_int32), ("topk", c.c_int32), ("score", c.c_int32),
                ("groups", c.c_int32), ("kept_groups", c.c_int32), ("group_rank", c.c_int32), ("normalized", c.c_int32),
                ("least_sum", c.c_double), ("factor", c.c_double), ("bias", c.c_void_p), ("expert_scale", c.c_void_p),
                ("experts_of_id", c.c_void_p), ("num_ids", c.c_int64), ("jitter", c.c_double)]


class BlockInfo(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("path", c.c_int32), ("tokens_are_replicated", c.c_int32),
                ("first_expert", c.c_int32), ("num_experts", c.c_int32), ("weight_bytes", c.c_int64),
                ("gradient_bytes", c.c_int64), ("work_bytes", c.c_int64)]


class Suggestion(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("path", c.c_int32), ("seconds", c.c_double), ("seconds_of", c.c_double * 7)]


_MATRICES = [(name, c.c_void_p) for name in ("gate", "up", "gate_up", "down")]
_VECTORS = [(name, c.c_void_p) for name in ("gate_bias", "up_bias", "gate_up_bias", "down_bias", "shared_gate",
                                             "latent_down", "latent_up", "latent_norm")]


class Weights(_Sized):
    _fields_ = [("struct_size", c.c_size_t), *_MATRICES, ("dtype", c.c_int32), ("order", c.c_int32), *_VECTORS]


class Gradients(_Sized):
    _fields_ = [("struct_size", c.c_size_t), *_MATRICES, ("dtype", c.c_int32), ("order", c.c_int32), ("accumulate", c.c_int32),
                *_VECTORS]


class Rows(_Sized):
    _fields_ = [("struct_size", c.c_size_t), ("data", c.c_void_p), ("num_rows", c.c_int64), ("index", c.c_void_p)]


def fitting(value, what, bits=32):
    """Returns the number; an error if it is no integer or needs more bits."""
    try:
        number = operator.index(value)
    except TypeError:
        raise Error(INVALID_ARGUMENT, f"{what}: got {value!r}, allowed: an integer; convert it") from None
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise Error(INVALID_ARGUMENT, f"{what}: got {number}, allowed: a number of {bits} bits; check it")
    return number


def number(value, what):
    """Returns the value as a float; an error if it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Error(INVALID_ARGUMENT, f"{what}: got {value!r}, allowed: a number; convert it") from None


def text(value, what):
    """Returns a name or path as the bytes of a C string; an error if it is none, or has a zero, where C would cut it off."""
    try:
        found = os.fsencode(value)
    except (TypeError, ValueError):
        found = b"\0"
    if b"\0" in found:
        raise Error(INVALID_ARGUMENT, f"{what}: got {value!r}, allowed: a name or path, without zeros; check it")
    return found


def _library_paths():
    """Returns where the library may be: the path in MOEHILL_LIBRARY, or else the installation that this file is part of
    (PREFIX/share/moehill/python/moehill), then the system's folders."""
    if "MOEHILL_LIBRARY" in os.environ:
        return [os.environ["MOEHILL_LIBRARY"]]
    here = pathlib.Path(__file__).resolve()
    prefix = here.parents[4] if len(here.parents) > 4 else here.parent
    found = [path for folder in ("lib", "lib/*", "lib64") for path in glob.glob(str(prefix / folder / "libmoehill.so.0"))]
    return found + ["libmoehill.so.0"]


def _load():
    """Returns the first library that can be loaded."""
    errors = []
    for path in _library_paths():
        try:
            return c.CDLL(path)
        except OSError as error:
            errors.append(str(error))
    raise ImportError("moehill: the library libmoehill.so.0 cannot be loaded (" + "; ".join(errors) +
                      "); install it, or name it in MOEHILL_LIBRARY")


library = _load()
library.moehill_last_error.restype = c.c_char_p
library.moehill_version.restype = c.c_char_p
_p, _i32, _i64 = c.c_void_p, c.c_int32, c.c_int64
_BITS = {_i32: 32, _i64: 64}
for _name, _arguments in {
        "context_create": [_p, _p], "context_get_info": [_p, _p],
        "block_create": [_p, _p, _p], "block_get_info": [_p, _p],
        "suggest": [_p, _p, _i64, c.c_char_p, _p],
        "block_load_experts": [_p, _i32, _i32, _p], "block_load_shared": [_p, _p],
        "block_store_experts": [_p, _i32, _i32, _p], "block_store_expert_gradients": [_p, _i32, _i32, _p],
        "block_store_shared_gradients": [_p, _p],
        "block_plan": [_p, _i64, _p, _p], "block_forward": [_p, _p, _p], "block_backward": [_p, _p, _p, _p, _p],
        "router_create": [_p, _p, _p], "router_set_bias": [_p, _p], "router_route": [_p, _i64, _p, _p, _p, _p],
        "router_backward": [_p, _i64, _p, _p, _p, _p],
        "exchange_create": [_p, _p, _p], "exchange_get_experts": [_p, _p, _p],
        "exchange_plan": [_p, _i64, _p, _p, _p, _p], "exchange_dispatch": [_p, _p, _p],
        "exchange_combine": [_p, _p, _p], "exchange_combine_backward": [_p, _p, _p, _p, _p],
        "exchange_dispatch_backward": [_p, _p, _p],
        "stack_create": [_p, _i32, _i64, _i64, _i32, _p], "stack_load": [_p, _i32, _i32, _p, _i32, _i32],
        "stack_store": [_p, _i32, _i32, _p, _i32, _i32], "gemm_forward": [_p, _p, _p, _p],
        "gemm_input_grad": [_p, _p, _p, _p], "gemm_weight_grad": [_p, _p, _p, _p]}.items():
    _function = getattr(library, "moehill_" + _name)
    _function.argtypes, _function.restype = _arguments, c.c_int
for _name, _arguments in {"context_options_init_sized": [_p, c.c_size_t], "block_desc_init_sized": [_p, c.c_size_t],
                          "router_desc_init_sized": [_p, c.c_size_t], "router_destroy": [_p],
                          "context_destroy": [_p], "block_destroy": [_p], "exchange_destroy": [_p],
                          "stack_destroy": [_p]}.items():
    _function = getattr(library, "moehill_" + _name)
    _function.argtypes, _function.restype = _arguments, None


def call(name, *arguments):
    """Calls moehill_<name> and raises its error. Numbers that do not fit their C types are errors; ctypes would cut them off."""
    function = getattr(library, "moehill_" + name)
    fits = [fitting(a, f"argument {i} of moehill_{name}", _BITS[kind]) if kind in _BITS else a
            for i, (a, kind) in enumerate(zip(arguments, function.argtypes), 1)]
    status = function(*fits)
    if status != OK:
        raise Error(status, library.moehill_last_error().decode(errors="replace"), of_library=True)


def refuse(name, handle):
    """Makes a collective call that the library refuses, so that the other processes get an error and do not wait. If this process has no
    tokens or rows the call may succeed, and then the others do not wait either."""
    function = getattr(library, "moehill_" + name)
    function(handle, *(-1 if kind in _BITS else None for kind in function.argtypes[1:]))
