#!/usr/bin/python3
"""One MoE block in PyTorch, as its users write it: a loop over the experts, autograd, a shared expert.

A worker of ./compare.
"""
import argparse

import torch
from torch.nn.functional import linear, silu

from worker import serve


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("tokens", 4096), ("hidden", 2048), ("mlp-dim", 1408), ("experts", 60), ("topk", 8),
                        ("shared-expert-dim", 5632), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--bench-pass", choices=("forward", "forward_backward"), default="forward_backward")
    return parser.parse_args()


def weights(width, hidden):
    """Gate, up and down projection of one expert, as nn.Linear keeps them: [out, in]."""
    shapes = ((width, hidden), (width, hidden), (hidden, width))
    return [torch.nn.Parameter(torch.randn(shape) * 0.02) for shape in shapes]


def mlp(x, expert):
    gate, up, down = expert
    return linear(silu(linear(x, gate)) * linear(x, up), down)


def block(x, logits, topk, experts, shared):
    probability, chosen = torch.topk(torch.softmax(logits, dim=-1), topk, dim=-1)
    y = mlp(x, shared) if shared else torch.zeros_like(x)
    for e, expert in enumerate(experts):
        token, place = torch.where(chosen == e)
        if token.numel() == 0:
            continue
        y = y.index_add(0, token, mlp(x[token], expert) * probability[token, place, None])
    return y


def main():
    options = parse()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    x = torch.randn(options.tokens, options.hidden, requires_grad=True)
    logits = torch.randn(options.tokens, options.experts, requires_grad=True)
    dy = torch.randn(options.tokens, options.hidden)
    experts = [weights(options.mlp_dim, options.hidden) for _ in range(options.experts)]
    shared = weights(options.shared_expert_dim, options.hidden) if options.shared_expert_dim else None
    leaves = [x, logits] + [w for expert in experts for w in expert] + (shared or [])

    def step():
        if options.bench_pass == "forward":
            with torch.no_grad():
                block(x, logits, options.topk, experts, shared)
            return
        for leaf in leaves:
            leaf.grad = None
        block(x, logits, options.topk, experts, shared).backward(dy)

    serve(step)


main()
