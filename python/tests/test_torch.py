"""moehill for PyTorch: outputs and gradients of a plain loop, in f32 and bf16, and what it refuses."""
import copy
import threading
import types
import unittest

import torch
import torch.nn as nn
import torch.nn.functional as F

import moehill
import moehill.torch as mt


def loop(x, ids, gates, gate_up, down):
    """As the experts of a Hugging Face model: id E is nobody's."""
    y = torch.zeros_like(x)
    for e in range(gate_up.shape[0]):
        token, choice = torch.where(ids == e)
        gate, up = F.linear(x[token], gate_up[e]).chunk(2, dim=-1)
        o = F.linear(F.silu(gate) * up, down[e])
        y = y.index_add(0, token, o * gates[token, choice].unsqueeze(-1).to(o.dtype))
    return y


def data(dtype=torch.float32, tokens=30, seed=0):
    g = torch.Generator().manual_seed(seed)
    f = lambda *shape, scale=1.0: (torch.randn(*shape, generator=g) * scale).to(dtype).requires_grad_()
    ids = torch.randint(0, 6, (tokens, 2), generator=g)  # 5 is E
    gates = torch.rand(tokens, 2, generator=g).requires_grad_()
    return f(tokens, 20), ids, gates, f(5, 24, 20, scale=0.25), f(5, 20, 12, scale=0.25)


def gradients(function, tensors, ids):
    x, gates, gate_up, down = (t.detach().clone().requires_grad_() for t in tensors)
    y = function(x, ids, gates, gate_up, down)
    (y.float() ** 2).sum().backward()
    return [y.detach()] + [t.grad for t in (x, gates, gate_up, down)]


class OperatorTest(unittest.TestCase):
    def expect_same(self, got, expected, tolerance):
        for name, a, b in zip(("y", "dx", "d_gates", "d_gate_up", "d_down"), got, expected):
            self.assertEqual(a.dtype, b.dtype, name)
            difference = ((a.float() - b.float()).abs().max() / b.float().abs().max()).item()
            self.assertLess(difference, tolerance, name)

    def test_equals_the_loop(self):
        for dtype, tolerance in ((torch.float32, 2e-5), (torch.bfloat16, 4e-2)):
            for tokens in (30, 1, 17):
                x, ids, gates, gate_up, down = data(dtype, tokens)
                tensors = (x, gates, gate_up, down)
                self.expect_same(gradients(mt.experts, tensors, ids), gradients(loop, tensors, ids), tolerance)

    def test_no_tokens(self):
        x, ids, gates, gate_up, down = data(tokens=30)
        y = mt.experts(x[:0], ids[:0], gates[:0], gate_up, down)
        y.sum().backward()
        self.assertEqual(tuple(y.shape), (0, 20))
        self.assertEqual(gate_up.grad.abs().max().item(), 0)

    def test_two_forwards_before_their_backwards(self):
        x, ids, gates, gate_up, down = data()
        both = lambda f: lambda a, i, p, u, d: f(f(a, i, p, u, d), i, p, u, d)
        self.expect_same(gradients(both(mt.experts), (x, gates, gate_up, down), ids),
                         gradients(both(loop), (x, gates, gate_up, down), ids), 5e-5)

    def test_learns_as_the_loop(self):
        losses = []
        for function in (mt.experts, loop):
            x, ids, gates, gate_up, down = data(seed=3)
            target = torch.sin(x.detach())
            optimizer = torch.optim.SGD([gate_up, down, gates], lr=2.0)
            losses.append([])
            for _ in range(20):
                optimizer.zero_grad()
                loss = ((function(x.detach(), ids, gates, gate_up, down) - target) ** 2).mean()
                loss.backward()
                optimizer.step()
                losses[-1].append(loss.item())
        self.assertLess(losses[0][-1], 0.9 * losses[0][0])
        for a, b in zip(*losses):
            self.assertAlmostEqual(a, b, delta=1e-4 * b)

    def test_reads_the_weights_as_they_are_now(self):
        x, ids, gates, gate_up, down = data()
        expect = lambda u, d: torch.testing.assert_close(mt.experts(x, ids, gates, u, d), loop(x, ids, gates, u, d),
                                                         atol=1e-5, rtol=1e-5)
        expect(gate_up, down)
        with torch.no_grad():
            down.mul_(2)
        expect(gate_up, down)
        mt.experts(x, ids, gates, gate_up, down).sum().backward()
        down.data -= 0.5 * down.grad  # not counted as a version
        expect(gate_up, down)
        turned = torch.nn.Parameter(gate_up.detach().transpose(1, 2).contiguous()).transpose(1, 2)  # with gaps
        for factor in (1, 3):
            with torch.no_grad():
                turned.mul_(factor)
            expect(turned, down)
        module = mt.Experts(gate_up, down)
        for seed in range(3):  # another parameter, perhaps where the one before lay
            module.down_proj = nn.Parameter(torch.randn(down.shape, generator=torch.Generator().manual_seed(seed)))
            torch.testing.assert_close(module(x, ids, gates), loop(x, ids, gates, gate_up, module.down_proj), atol=1e-4, rtol=1e-4)
        module.down_proj.data.zero_()
        module.reload()
        self.assertEqual(module(x, ids, gates).abs().max().item(), 0)
        with torch.inference_mode():
            fixed = (gate_up + 0, down + 0)
            expect(*fixed)
            fixed[1].mul_(2)
            expect(*fixed)

    def test_packs_weights_once_while_they_stay(self):
        x, ids, gates, gate_up, down = data()
        layer, calls, call = mt.Experts(gate_up, down), [], mt._c.call
        mt._c.call = lambda name, *a: (calls.append(name), call(name, *a))
        try:
            for _ in range(3):
                layer(x, ids, gates)
        finally:
            mt._c.call = call
        self.assertEqual(calls.count("block_load_experts"), 1)

    def test_one_layer_serves_several_threads(self):
        x, ids, gates, gate_up, down = (t.detach() for t in data(tokens=30))
        layer = mt.Experts(gate_up, down)
        parts = [slice(0, 30), slice(0, 3)]  # each thread has a number of tokens of its own
        with torch.no_grad():
            expected = [loop(x[p], ids[p], gates[p], gate_up, down) for p in parts]
        worst = [0.0, 0.0]

        def work(i):
            with torch.no_grad():
                for _ in range(100):
                    y = layer(x[parts[i]], ids[parts[i]], gates[parts[i]])
                    worst[i] = max(worst[i], (y - expected[i]).abs().max().item())

        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertLess(max(worst), 1e-4)

    def test_goes_on_after_a_block_that_could_not_be_made(self):
        x, ids, gates, gate_up, down = (t.detach() for t in data(tokens=30))
        layer = mt.Experts(gate_up, down)
        with self.assertRaises(moehill.Error):
            layer(x, ids.repeat(1, 4), gates.repeat(1, 4))  # more choices than experts
        with torch.no_grad():
            self.assertLess((layer(x, ids, gates) - loop(x, ids, gates, gate_up, down)).abs().max().item(), 1e-4)

    def test_refuses_ids_that_no_expert_has(self):
        x, ids, gates, gate_up, down = data()
        for bad in (ids + 2**32, ids.float(), ids > 2, torch.full_like(ids, 6), torch.full_like(ids, -2)):
            with self.assertRaisesRegex(moehill.Error, "expert_ids.*allowed"):
                mt.experts(x, bad, gates, gate_up, down)

    def test_refuses_what_does_not_fit(self):
        x, ids, gates, gate_up, down = data()
        for part, call in {"float32 or bfloat16": lambda: mt.experts(x.double(), ids, gates, gate_up, down),
                           "transpose": lambda: mt.experts(x, ids, gates, gate_up, down.transpose(1, 2)),
                           "dense": lambda: mt.experts(x.detach().to_sparse(), ids, gates, gate_up, down),
                           "x: got list": lambda: mt.experts([1.0], ids, gates, gate_up, down),
                           "flatten": lambda: mt.experts(x.unsqueeze(0), ids, gates, gate_up, down),
                           "router": lambda: mt.experts(x, ids[:, :1], gates, gate_up, down),
                           "-1 to 5": lambda: mt.experts(x, ids + 1, gates, gate_up, down)}.items():
            with self.assertRaises(moehill.Error) as caught:
                call()
            self.assertIn(part, str(caught.exception))


class Stub(nn.Module):
    """The attributes of an experts module of Hugging Face's models."""

    def __init__(self):
        super().__init__()
        _, _, _, gate_up, down = data()
        self.gate_up_proj, self.down_proj = nn.Parameter(gate_up.detach()), nn.Parameter(down.detach())
        self.act_fn = F.silu

    def forward(self, hidden_states, top_k_index, top_k_weights):
        return loop(hidden_states, top_k_index, top_k_weights, self.gate_up_proj, self.down_proj)


class DlpackTest(unittest.TestCase):
    def test_a_stack_takes_tensors(self):
        stack = moehill.Stack(moehill.Context(threads_per_device=1), 1, 3, 2, dtype="f32")
        stack.load(torch.ones(1, 3, 2))
        self.assertEqual(stack.forward(torch.tensor([0, 4]), torch.ones(4, 3)).tolist(), [[3, 3]] * 4)


class ModuleTest(unittest.TestCase):
    def test_replaces_the_experts_of_a_model(self):
        stub = Stub()
        layer = mt.Experts.replacing(stub)
        x, ids, gates, _, _ = data(seed=5)
        self.assertIs(layer.gate_up_proj, stub.gate_up_proj)
        torch.testing.assert_close(layer(x, ids, gates), stub(x, ids, gates), atol=1e-5, rtol=1e-5)
        self.assertEqual(set(layer.state_dict()), {"gate_up_proj", "down_proj"})
        twin = copy.deepcopy(layer)
        with torch.no_grad():
            twin.down_proj.zero_()
            self.assertEqual(twin(x, ids, gates).abs().max().item(), 0)
            torch.testing.assert_close(layer(x, ids, gates), stub(x, ids, gates), atol=1e-5, rtol=1e-5)

    def test_takes_a_loop_of_experts(self):
        make = lambda: nn.ModuleDict({"gate_proj": nn.Linear(20, 12, bias=False), "up_proj": nn.Linear(20, 12, bias=False),
                                      "down_proj": nn.Linear(12, 20, bias=False)})
        modules = [make() for _ in range(5)]
        for m in modules:
            m.gate_proj, m.up_proj, m.down_proj = m["gate_proj"], m["up_proj"], m["down_proj"]
        layer = mt.Experts.of_loop(modules)
        x, ids, gates, _, _ = data(seed=6)
        expected = torch.zeros_like(x)
        for e, m in enumerate(modules):
            token, choice = torch.where(ids == e)
            o = m.down_proj(F.silu(m.gate_proj(x[token])) * m.up_proj(x[token]))
            expected = expected.index_add(0, token, o * gates[token, choice].unsqueeze(-1))
        torch.testing.assert_close(layer(x, ids, gates), expected, atol=1e-5, rtol=1e-5)

    def test_refuses_what_it_cannot_honour(self):
        changes = {"bias": lambda m: setattr(m, "gate_up_proj_bias", nn.Parameter(torch.zeros(5, 24))),
                   "is_transposed": lambda m: setattr(m, "is_transposed", True),
                   "is_concatenated": lambda m: setattr(m, "is_concatenated", False),
                   "clamped": lambda m: setattr(m, "limit", 7.0),
                   "act_fn": lambda m: setattr(m, "act_fn", F.gelu),
                   "_apply_gate": lambda m: setattr(m, "_apply_gate", lambda g: g[..., ::2] * g[..., 1::2]),
                   "down_proj": lambda m: setattr(m, "down_proj", None)}
        for part, change in changes.items():
            stub = Stub()
            change(stub)
            with self.assertRaises(moehill.Error) as caught:
                mt.Experts.replacing(stub)
            self.assertIn(part, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
