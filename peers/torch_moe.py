#!/usr/bin/python3
"""One MoE block in PyTorch, as its users write it: a loop over the experts, autograd, a shared expert.

A worker of ./compare: operands and the results to compare with are those that moehill dumped. WHAT is PASS:FOLDER.
With --describe it makes one product and ends; ONEDNN_VERBOSE=1 then shows which kernels PyTorch takes.
"""
import argparse
import ctypes
import json
from pathlib import Path

import numpy
import torch
from torch.nn.functional import linear, silu

from worker import row_error, serve

DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}


def blas_core():
    """The kernels that OpenBLAS chose for this CPU, where it is there."""
    try:
        core = ctypes.CDLL("libopenblas.so.0").openblas_get_corename
    except (OSError, AttributeError):
        return "BLAS: no OpenBLAS"
    core.restype = ctypes.c_char_p
    return f"OpenBLAS {core().decode()}"


def load(folder, name):
    return numpy.load(folder / f"{name}.npy")


def parameter(matrix, dtype):
    """As nn.Linear keeps it: [out, in]."""
    return torch.nn.Parameter(torch.from_numpy(matrix).to(dtype).T.contiguous())


class Problem:
    """Inputs of one case, and what moehill made of them."""

    def __init__(self, folder, dtype):
        self.folder = folder
        self.x = torch.from_numpy(load(folder, "x")).to(dtype).requires_grad_()
        self.chosen = torch.from_numpy(load(folder, "topk_idx")).long()
        self.gate = torch.from_numpy(load(folder, "topk_weights")).requires_grad_()


class Block:
    def __init__(self, weights, dtype):
        self.dtype = dtype
        w1, w3, w2 = (numpy.load(weights / f"{name}.npy", mmap_mode="r") for name in ("w1", "w3", "w2"))
        self.experts = [[parameter(numpy.array(w[e]), dtype) for w in (w1, w3, w2)] for e in range(len(w1))]
        self.shared = []
        if (weights / "s1.npy").exists():
            self.shared = [parameter(load(weights, name), dtype) for name in ("s1", "s3", "s2")]
        self.problems = {}

    def problem(self, folder):
        if folder not in self.problems:
            self.problems[folder] = Problem(Path(folder), self.dtype)
        return self.problems[folder]

    @staticmethod
    def mlp(x, expert):
        w1, w3, w2 = expert
        return linear(silu(linear(x, w1)) * linear(x, w3), w2)

    def forward(self, p):
        y = self.mlp(p.x, self.shared) if self.shared else torch.zeros_like(p.x)
        gate = p.gate.to(self.dtype)
        for e, expert in enumerate(self.experts):
            token, place = torch.where(p.chosen == e)
            if token.numel() == 0:
                continue
            y = y.index_add(0, token, self.mlp(p.x[token], expert) * gate[token, place, None])
        return y

    def step(self, what):
        bench_pass, folder = what.split(":", 1)
        p = self.problem(folder)
        if bench_pass == "forward":
            with torch.no_grad():
                return self.forward(p)
        for leaf in [p.x, p.gate] + [w for mlp in self.experts + [self.shared] for w in mlp]:
            leaf.grad = None
        y = self.forward(p)
        y.backward(y.detach() * (2 / y.numel()))  # of the loss mean(y^2)
        return y

    def check(self, what):
        bench_pass, folder = what.split(":", 1)
        y = self.step(what)
        p = self.problem(folder)

        def error(result, name):
            return row_error(result.detach().float().numpy(), load(p.folder, name))

        found = {"y": error(y, "y")}
        if bench_pass == "forward":
            return found
        found["dx"] = error(p.x.grad, "dx")
        found["dp"] = error(p.gate.grad, "dp")
        kept = json.loads((p.folder / "experts.json").read_text())
        for place, name in enumerate(("dw1", "dw3", "dw2")):
            found[name] = error(torch.stack([self.experts[e][place].grad.T for e in kept]), name)
        for place, name in enumerate(("ds1", "ds3", "ds2")):
            if self.shared:
                found[name] = error(self.shared[place].grad.T, name)
        return found


def describe(dtype):
    a = torch.ones(256, 256, dtype=DTYPES[dtype])
    linear(a, a)
    print(json.dumps({"version": torch.__version__, "blas": blas_core()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dtype", choices=DTYPES)
    parser.add_argument("weights", nargs="?", type=Path)
    parser.add_argument("threads", nargs="?", type=int)
    parser.add_argument("--describe", action="store_true")
    options = parser.parse_args()
    if options.describe:
        describe(options.dtype)
        return
    torch.set_num_threads(options.threads)
    block = Block(options.weights, DTYPES[options.dtype])
    serve(block.check, block.step)


main()
