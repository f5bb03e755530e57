#!/usr/bin/python3
"""One MoE block in PyTorch, as its users write it: a loop over the experts, autograd, a shared expert.

A worker of ./compare: operands and the results to compare with are those that moehill dumped. WHAT is PASS:FOLDER.
With --module, moehill.torch stands in the loop's place. With --describe the worker makes one product and ends; ONEDNN_VERBOSE=1 then
shows which kernels PyTorch takes.
"""
import argparse
import ctypes
import dataclasses
import json
from pathlib import Path

import numpy
import torch
from torch.nn.functional import linear, silu

from worker import row_error, serve

DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}


def blas_core():
    """Returns the kernels that OpenBLAS chose for this CPU, if OpenBLAS is there."""
    try:
        core = ctypes.CDLL("libopenblas.so.0").openblas_get_corename
    except (OSError, AttributeError):
        return "BLAS: no OpenBLAS"
    core.restype = ctypes.c_char_p
    return f"OpenBLAS {core().decode()}"


def load(folder, name):
    return numpy.load(folder / f"{name}.npy")


def parameter(matrix, dtype):
    """Returns the matrix as nn.Linear keeps it: [out, in]."""
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

    def leaves(self):
        return [w for mlp in self.experts + [self.shared] for w in mlp]

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
        for leaf in [p.x, p.gate, *self.leaves()]:
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


class ModuleBlock(Block):
    """The same parameters through moehill.torch, each kind in one tensor."""

    def __init__(self, weights, dtype):
        super().__init__(weights, dtype)
        import moehill
        import moehill.torch
        self.operator = moehill.torch.experts
        # An expert's parameters become parts of these, and so do their gradients.
        self.stacks = [torch.nn.Parameter(t) for t in (
            torch.stack([torch.cat([w1.data, w3.data]) for w1, w3, _ in self.experts]),
            torch.stack([w2.data for _, _, w2 in self.experts]))]
        if self.shared:
            s1, s3, s2 = self.shared
            self.stacks += [torch.nn.Parameter(torch.cat([s1.data, s3.data])), torch.nn.Parameter(s2.data.clone())]
        self.experts = [Views(self.stacks[0], self.stacks[1], e) for e in range(len(self.experts))]
        self.shared = Views(*self.stacks[2:]) if self.shared else []
        self.layer = moehill.torch._Layer(moehill.Context(threads_per_device=torch.get_num_threads()))

    def leaves(self):
        return self.stacks

    def forward(self, p):
        names = ("gate_up", "down", "shared_gate_up", "shared_down")
        return self.operator(p.x, p.chosen, p.gate, layer=self.layer, **dict(zip(names, self.stacks)))


class Views:
    """(W1, W3, W2) of an expert, as Block has them. Only their gradients are read."""

    def __init__(self, gate_up, down, expert=None):
        self.gate_up, self.down, self.expert = gate_up, down, expert

    def __getitem__(self, place):
        both, down = (t.grad if self.expert is None else t.grad[self.expert] for t in (self.gate_up, self.down))
        return Gradient(down if place == 2 else both.chunk(2)[place])


@dataclasses.dataclass
class Gradient:
    grad: torch.Tensor


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
    parser.add_argument("--module", action="store_true")
    options = parser.parse_args()
    if options.describe:
        describe(options.dtype)
        return
    torch.set_num_threads(options.threads)
    block = (ModuleBlock if options.module else Block)(options.weights, DTYPES[options.dtype])
    serve(block.check, block.step)


main()
