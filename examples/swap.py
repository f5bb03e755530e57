"""A PyTorch layer with weights of its own, before and after its experts are swapped for moehill's: the same outputs and
gradients, and the times of both.    swap.py [TOKENS HIDDEN WIDTH EXPERTS TOPK]"""
import sys, time
import torch, torch.nn.functional as F
import moehill.torch

T, H, M, E, K = map(int, sys.argv[1:] or (512, 1024, 512, 16, 4))


class Loop(torch.nn.Module):  # as models of Hugging Face have it
    def __init__(self):
        super().__init__()
        self.gate_up_proj = torch.nn.Parameter(torch.randn(E, 2 * M, H) / H**0.5)
        self.down_proj = torch.nn.Parameter(torch.randn(E, H, M) / M**0.5)

    def forward(self, x, ids, gates):
        y = torch.zeros_like(x)
        for e in range(E):
            token, choice = torch.where(ids == e)
            gate, up = F.linear(x[token], self.gate_up_proj[e]).chunk(2, dim=-1)
            y.index_add_(0, token, F.linear(F.silu(gate) * up, self.down_proj[e]) * gates[token, choice, None])
        return y


def step(layer):
    begin = time.perf_counter()
    y = layer(x, ids, gates)
    return y.detach(), *torch.autograd.grad((y * target).sum(), (x, gates, *layer.parameters())), time.perf_counter() - begin


torch.manual_seed(0)
x, target = torch.randn(T, H, requires_grad=True), torch.randn(T, H)
gates, ids = torch.randn(T, E).softmax(-1).topk(K)
gates = gates.detach().requires_grad_()
before = Loop()
after = moehill.torch.Experts.replacing(before)
runs = [[step(layer) for layer in (before, after)] for _ in range(7)]  # in turn; the first warms up
for name, a, b in zip(("y", "dx", "d_gates", "d_gate_up", "d_down"), *runs[-1]):
    torch.testing.assert_close(b, a, atol=2e-5 * a.abs().max().item(), rtol=1e-5, msg=f"{name} differs")
times = [sorted(run[i][-1] for run in runs[1:])[3] * 1e3 for i in (0, 1)]
print(f"outputs and gradients agree; forward and backward {times[0]:.1f} ms before, {times[1]:.1f} ms after")
