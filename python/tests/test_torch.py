"""moehill for PyTorch: outputs and gradients of a plain loop, in f32 and bf16, and what it refuses."""
import copy
import dataclasses
import multiprocessing
import threading
import types
import unittest
import unittest.mock

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


def use_in_child(layer, arguments, results):
    try:
        layer(*arguments)
        results.put("no error")
    except moehill.Error as error:
        results.put(str(error))


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
        for seed in range(3):  # another parameter, perhaps at the address of the last one
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

    def test_memory_of_gradients_is_used_again_only_when_nobody_has_it(self):
        x, ids, gates, gate_up, down = data()
        gate_up, down = nn.Parameter(gate_up.detach()), nn.Parameter(down.detach())
        layer = mt.Experts(gate_up, down)

        def step(factor):
            layer(x, ids, gates).sum().mul(factor).backward()
            return gate_up.grad.data_ptr()

        first = step(1)
        kept = gate_up.grad  # of the user
        expected = kept.clone()
        gate_up.grad = None
        second = step(2)
        self.assertNotEqual(first, second)
        self.assertTrue(torch.equal(kept, expected))
        part = kept[1:2]  # a view keeps it too
        gate_up.grad = kept = None
        self.assertEqual(step(3), second)
        self.assertTrue(torch.equal(part, expected[1:2]))
        part = gate_up.grad = None
        self.assertIn(step(1), (first, second))
        step(1)  # is added to what is there
        torch.testing.assert_close(gate_up.grad, 2 * expected)

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

    def test_a_forked_worker_is_told_even_if_a_thread_was_in_a_step(self):
        x, ids, gates, gate_up, down = (t.detach() for t in data())
        layer = mt.Experts(gate_up, down)
        expected = layer(x, ids, gates)
        inside, go_on = threading.Event(), threading.Event()

        def step():
            with layer._layer.turn():
                inside.set()
                go_on.wait(60)

        thread = threading.Thread(target=step)
        thread.start()
        inside.wait(60)
        fork = multiprocessing.get_context("fork")
        results = fork.Queue()
        child = fork.Process(target=use_in_child, args=(layer, (x, ids, gates), results))
        child.start()
        try:
            self.assertIn("after a fork", results.get(timeout=60))
        finally:
            child.kill()
            child.join(60)
            go_on.set()
            thread.join()
        torch.testing.assert_close(layer(x, ids, gates), expected)

    def test_goes_on_after_a_block_that_could_not_be_made(self):
        x, ids, gates, gate_up, down = (t.detach() for t in data(tokens=30))
        layer = mt.Experts(gate_up, down)
        with self.assertRaises(moehill.Error):
            layer(x, ids.repeat(1, 4), gates.repeat(1, 4))  # more choices than experts
        with torch.no_grad():
            self.assertLess((layer(x, ids, gates) - loop(x, ids, gates, gate_up, down)).abs().max().item(), 1e-4)

    def test_a_forward_that_fails_leaves_the_backward_of_the_one_before(self):
        x, ids, gates, gate_up, down = data()
        layer, nan = mt.Experts(gate_up.detach(), down.detach()), torch.full_like(gates, float("nan"))
        layer(x, ids, gates).sum().backward()
        expected, call = x.grad.clone(), mt._c.call

        def interrupted(name, *arguments):
            call(name, *arguments)
            if name == "block_forward":
                raise KeyboardInterrupt

        def interrupt():
            with unittest.mock.patch.object(mt._c, "call", interrupted):
                layer(x[:1], ids[:1], gates[:1])  # the block then has the state of a forward of one token

        for error, fail in ((moehill.Error, lambda: layer(x, ids, nan)),
                            (moehill.Error, lambda: layer(x, ids.repeat(1, 4), gates.repeat(1, 4))),
                            (KeyboardInterrupt, interrupt)):
            x.grad = None
            y = layer(x, ids, gates)
            with self.assertRaises(error):
                fail()
            y.sum().backward()
            torch.testing.assert_close(x.grad, expected)

    def test_a_load_that_fails_leaves_no_weights_that_seem_loaded(self):
        x, ids, gates, gate_up, down = (t.detach() for t in data())
        layer, call = mt.Experts(gate_up, down), mt._c.call
        expected = layer(x, ids, gates)

        def interrupted(name, *arguments):
            call(name, *arguments)
            if name == "block_load_experts":
                raise KeyboardInterrupt

        with unittest.mock.patch.object(mt._c, "call", interrupted), self.assertRaises(KeyboardInterrupt):
            mt.experts(x, ids, gates, gate_up, 2 * down, layer=layer._layer)
        torch.testing.assert_close(layer(x, ids, gates), expected)

    def test_refuses_gradients_for_tensors_of_another_size_than_in_the_forward(self):
        for name, other in {"x": lambda t: t[:3], "gates": lambda t: t[:3], "gate_up": lambda t: t[:, :8],
                            "down": lambda t: t[:, :, :4]}.items():
            x, ids, gates, gate_up, down = data()
            y = mt.experts(x, ids, gates, gate_up, down)
            tensor = {"x": x, "gates": gates, "gate_up": gate_up, "down": down}[name]
            tensor.data = other(tensor.detach()).contiguous()
            with self.assertRaisesRegex(moehill.Error, f"{name}: got .* in the backward"):
                y.sum().backward()
            self.assertIsNone(tensor.grad)

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
        changes = {"without gate_up_proj_bias": lambda m: setattr(m, "has_bias", True),
                   "both or none": lambda m: setattr(m, "gate_up_proj_bias", nn.Parameter(torch.zeros(5, 24))),
                   "gate_up: got": lambda m: setattr(m, "is_transposed", True),
                   "is_concatenated": lambda m: setattr(m, "is_concatenated", False),
                   "has_gate": lambda m: setattr(m, "has_gate", False),
                   "clamped": lambda m: setattr(m, "alpha", 1.7),
                   "something else": lambda m: setattr(m, "limit", 7.0),
                   "act_fn": lambda m: setattr(m, "act_fn", F.gelu),
                   "something else than": lambda m: setattr(m, "forward", lambda x, i, g: 2 * Stub.forward(m, x, i, g)),
                   "cannot be called": lambda m: setattr(m, "forward", lambda x: x),
                   "down_proj": lambda m: setattr(m, "down_proj", None)}
        for part, change in changes.items():
            stub = Stub()
            change(stub)
            with self.assertRaises(moehill.Error) as caught:
                mt.Experts.replacing(stub)
            self.assertIn(part, str(caught.exception))


def general_loop(x, ids, gates, w, form):
    """Experts of any form, with biases and a shared expert where w has them."""
    turned = lambda t: t.transpose(-1, -2) if form.transposed else t
    sigmoid = torch.sigmoid

    def mlp(rows, gate_up, down, up_bias=None, down_bias=None):
        both = F.linear(rows, turned(gate_up), up_bias)
        if not form.gated:
            g, u = both, 1
        else:
            g, u = (both[..., ::2], both[..., 1::2]) if form.interleaved else both.chunk(2, dim=-1)
        if form.limit:
            g, u = g.clamp(max=form.limit), u.clamp(-form.limit, form.limit)
        h = {"silu": lambda: F.silu(g) * u, "swiglu_oai": lambda: g * sigmoid((form.alpha or 1.702) * g) * (u + 1),
             "gelu_tanh": lambda: F.gelu(g, approximate="tanh") * u, "relu2": lambda: F.relu(g) ** 2 * u,
             "situ": lambda: (form.beta or 4) * torch.tanh(g / (form.beta or 4)) * sigmoid(g)
             * (form.linear_beta or 25) * torch.tanh(u / (form.linear_beta or 25))}[form.activation]()
        return F.linear(h, turned(down), down_bias)

    whole = x
    if "latent_down" in w:
        x = F.linear(x, turned(w["latent_down"]))
    y = torch.zeros_like(x)
    at = lambda name, e: None if w.get(name) is None else w[name][e]
    for e in range(w["down"].shape[0]):
        token, choice = torch.where(ids == e)
        p = gates[token, choice].unsqueeze(-1).to(x.dtype)
        rows = x[token] * p if form.input_weighted else x[token]
        o = mlp(rows, w["gate_up"][e], w["down"][e], at("gate_up_bias", e), at("down_bias", e))
        y = y.index_add(0, token, o if form.input_weighted else o * p)
    e = w["down"].shape[0]
    y = y + x * (gates * ((ids >= e) & (ids < e + form.zero_experts))).sum(1, keepdim=True).to(x.dtype)
    if "latent_norm" in w:
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + form.latent_norm) * w["latent_norm"]
    if "latent_up" in w:
        x, y = whole, F.linear(y, turned(w["latent_up"]))
    if "shared_down" in w:
        o = mlp(x, w["shared_gate_up"], w["shared_down"])
        y = y + (o * sigmoid(x @ w["shared_gate"])[:, None] if "shared_gate" in w else o)
    return y


class FormTest(unittest.TestCase):
    CASES = [("silu with a limit", mt.Form(limit=0.7), ""),
             ("gpt-oss", mt.Form("swiglu_oai", alpha=1.702, limit=0.7, transposed=True, interleaved=True), "biases"),
             ("gpt-oss as nn.Linear would have it", mt.Form("swiglu_oai", interleaved=True), "biases"),
             ("Gemma", mt.Form("gelu_tanh", transposed=True), "shared"),
             ("Nemotron", mt.Form("relu2", gated=False), "biases shared gate"),
             ("Llama 4", mt.Form(input_weighted=True, transposed=True), "shared"),
             ("Qwen", mt.Form(), "shared gate"),
             ("LongCat", mt.Form(zero_experts=2), ""),
             ("Nemotron-3 Super", mt.Form("relu2", gated=False, transposed=True), "shared latent"),
             ("Kimi-K3", mt.Form("situ", linear_beta=2, latent_norm=1e-5), "shared latent norm")]

    @staticmethod
    def weights(form, more, dtype):
        g = torch.Generator().manual_seed(4)
        turned = lambda *shape: (*shape[:-2], shape[-1], shape[-2]) if form.transposed else shape
        f = lambda *shape: (torch.randn(*shape, generator=g) * 0.25).to(dtype)
        both = 2 if form.gated else 1
        width = 9 if "latent" in more else 20
        w = {"gate_up": f(*turned(5, both * 12, width)), "down": f(*turned(5, width, 12))}
        if "latent" in more:
            w.update(latent_down=f(*turned(9, 20)), latent_up=f(*turned(20, 9)))
        if "norm" in more:
            w["latent_norm"] = f(9)
        if "biases" in more:
            w.update(gate_up_bias=f(5, both * 12), down_bias=f(5, 20))
        if "shared" in more:
            w.update(shared_gate_up=f(*turned(both * 7, 20)), shared_down=f(*turned(20, 7)))
        if "gate" in more:
            w["shared_gate"] = f(20)
        return w

    def test_a_module_has_them_as_parameters(self):
        for name, form, more in self.CASES:
            w = self.weights(form, more, torch.float32)
            around = {n: t for n, t in w.items() if n.startswith(("shared", "latent"))}
            layer = mt.Experts(w["gate_up"], w["down"], form=form, gate_up_proj_bias=w.get("gate_up_bias"),
                               down_proj_bias=w.get("down_bias"), **around)
            self.assertEqual(len(list(layer.parameters())), len(w), name)
            x, ids, gates, _, _ = data(torch.float32)
            y = layer(x, ids, gates)
            self.assertTrue(torch.equal(y, mt.experts(x, ids, gates, form=form, **w)), name)
            y.sum().backward()
            self.assertTrue(all(p.grad is not None for p in layer.parameters()), name)
        with self.assertRaises(TypeError):
            mt.Experts(w["gate_up"], w["down"], shared_up=w["down"])

    def test_refuses_half_of_what_is_around_experts(self):
        w = self.weights(mt.Form(), "latent", torch.float32)
        x, ids, gates, _, _ = data(torch.float32)
        for form, left_out in ((mt.Form(), "latent_up"), (mt.Form(), "latent_down"), (mt.Form(latent_norm=1e-5), "")):
            with self.assertRaisesRegex(moehill.Error, "around the experts"):
                mt.experts(x, ids, gates, form=form, **{n: t for n, t in w.items() if n != left_out})

    def test_equals_the_loop(self):
        for (name, form, more), dtype in ((case, d) for case in self.CASES for d in (torch.float32, torch.bfloat16)):
            # A g rounded to bf16 may lie on the other side of a limit, where the slope is another: a limit that few reach.
            if form.limit and dtype == torch.bfloat16:
                form = dataclasses.replace(form, limit=4.0)
            results = []
            for function in (lambda x, i, p, w: mt.experts(x, i, p, form=form, **w),
                             lambda x, i, p, w: general_loop(x, i, p, w, form)):
                x, ids, gates, _, _ = data(dtype)
                x, gates = x.detach().requires_grad_(), gates.detach().requires_grad_()
                w = {n: t.requires_grad_() for n, t in self.weights(form, more, dtype).items()}
                y = function(x, ids, gates, w)
                (y.float() ** 2).sum().backward()
                results.append({"y": y.detach(), "dx": x.grad, "d_gates": gates.grad, **{n: t.grad for n, t in w.items()}})
            tolerance = 3e-5 if dtype == torch.float32 else 6e-2
            for n, expected in results[1].items():
                self.assertEqual(results[0][n].dtype, expected.dtype)
                difference = ((results[0][n].float() - expected.float()).abs().max() / expected.float().abs().max()).item()
                self.assertLess(difference, tolerance, f"{n}, {name}, {dtype}")

    def test_replaces_experts_of_other_forms(self):
        x, ids, gates, _, _ = data(seed=5)
        form = mt.Form("swiglu_oai", alpha=1.702, limit=7.0, transposed=True, interleaved=True)
        w = self.weights(form, "biases", torch.float32)
        stub = Stub()
        stub.act_fn, stub.alpha, stub.limit = None, 1.702, 7.0
        for name in ("gate_up", "down"):
            setattr(stub, name + "_proj", nn.Parameter(w[name]))
            setattr(stub, name + "_proj_bias", nn.Parameter(w[name + "_bias"]))
        stub.forward = lambda x, i, g: general_loop(x, i, g, w, form)
        layer = mt.Experts.replacing(stub)  # gpt-oss
        self.assertEqual(layer.form, form)
        self.assertEqual(len(layer.state_dict()), 4)
        torch.testing.assert_close(layer(x, ids, gates), stub(x, ids, gates), atol=1e-5, rtol=1e-5)
        stub.is_concatenated = True  # but its weights are not concatenated
        with self.assertRaisesRegex(moehill.Error, "something else"):
            mt.Experts.replacing(stub)
        stub = Stub()
        stub.act_fn = nn.GELU(approximate="tanh")
        stub.forward = lambda x, i, g: general_loop(x, i, g, {"gate_up": stub.gate_up_proj, "down": stub.down_proj}, mt.Form("gelu_tanh"))
        self.assertEqual(mt.Experts.replacing(stub).form, mt.Form("gelu_tanh"))

    def test_takes_a_loop_of_experts_with_biases(self):
        modules = nn.ModuleList()
        for _ in range(5):
            m = nn.Module()
            m.gate_proj, m.up_proj, m.down_proj = nn.Linear(20, 12), nn.Linear(20, 12), nn.Linear(12, 20)
            modules.append(m)
        layer = mt.Experts.of_loop(modules, form=mt.Form("gelu_tanh"))
        x, ids, gates, _, _ = data(seed=6)
        w = {"gate_up": layer.gate_up_proj, "down": layer.down_proj, "gate_up_bias": layer.gate_up_proj_bias,
             "down_bias": layer.down_proj_bias}
        torch.testing.assert_close(layer(x, ids, gates), general_loop(x, ids, gates, w, mt.Form("gelu_tanh")), atol=1e-5, rtol=1e-5)
        modules[2].up_proj.bias = None
        with self.assertRaisesRegex(moehill.Error, "all or none"):
            mt.Experts.of_loop(modules)

    def test_refuses_weights_of_another_form(self):
        x, ids, gates, gate_up, down = (t.detach() for t in data())
        for part, more in {"both or none": dict(down_bias=torch.zeros(5, 20)),
                           "gate_up_bias: got": dict(gate_up_bias=torch.zeros(5, 12), down_bias=torch.zeros(5, 20)),
                           "the shared expert": dict(shared_gate=torch.zeros(20)),
                           "shared_gate_up: got": dict(shared_gate_up=torch.zeros(7, 20), shared_down=torch.zeros(20, 7)),
                           "the types of x and down_bias": dict(gate_up_bias=torch.zeros(5, 24), down_bias=torch.zeros(5, 20).double()),
                           "limit": dict(form=mt.Form("relu2", limit=7)),
                           "activation: got 'tanh'": dict(form=mt.Form("tanh")),
                           "gate_up: got": dict(form=mt.Form("relu2", gated=False))}.items():
            with self.assertRaises(moehill.Error) as caught:
                mt.experts(x, ids, gates, gate_up, down, **more)
            self.assertIn(part, str(caught.exception))
        with self.assertRaises(TypeError):
            mt.experts(x, ids, gates, gate_up, down, gate_bias=down)


class RouterTest(unittest.TestCase):
    """Against routers as models of Hugging Face have them, with PyTorch's own gradients."""

    def setUp(self):
        g = torch.Generator().manual_seed(7)
        self.logits = torch.randn(33, 12, generator=g)
        self.bias = torch.randn(12, generator=g) * 0.1
        self.d_gates = torch.randn(33, 3, generator=g)

    def expect_same(self, router, reference):
        found = []
        for function in (router, reference):
            logits = self.logits.clone().requires_grad_()
            ids, gates = function(logits)
            (gates * self.d_gates).sum().backward()
            found.append((ids.long(), gates.detach(), logits.grad))
        self.assertTrue(torch.equal(found[0][0], found[1][0]))
        for a, b in zip(found[0][1:], found[1][1:]):
            torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)

    def test_mixtral(self):
        def reference(z):
            top, ids = z.topk(3)
            return ids, top.softmax(-1)
        self.expect_same(mt.Router(12, 3), reference)

    def test_qwen3(self):
        def reference(z):
            p, ids = z.softmax(-1).topk(3)
            return ids, p / p.sum(-1, keepdim=True)
        self.expect_same(mt.Router(12, 3, score="softmax", normalized=True), reference)

    def test_phi_3_5_moe(self):
        def reference(z):
            ids, p, left = [], [], z
            for _ in range(3):
                with torch.no_grad():
                    best, choice = left.max(-1, keepdim=True)
                    far = (best - z) / torch.maximum(z.abs(), best) > 0.4
                p.append(left.masked_fill(far, float("-inf")).softmax(-1).gather(1, choice))
                ids.append(choice)
                left = left.scatter(1, choice, float("-inf"))
            return torch.cat(ids, 1), torch.cat(p, 1)
        self.expect_same(mt.Router(12, 3, score="sparsemixer", jitter=0.2), reference)

    def test_deepseek_v3(self):
        def reference(z):
            s = z.sigmoid()
            keys = (s + self.bias).view(33, 4, 3)
            kept = torch.zeros(33, 4).scatter(1, keys.topk(2)[0].sum(-1).topk(2)[1], 1)[..., None].expand_as(keys)
            ids = keys.masked_fill(kept == 0, 0.0).reshape(33, 12).topk(3)[1]
            p = s.gather(1, ids)
            return ids, p / (p.sum(-1, keepdim=True) + 1e-20) * 2.5
        router = mt.Router(12, 3, score="sigmoid", bias=self.bias, groups=4, kept_groups=2, normalized=True, factor=2.5)
        self.expect_same(router, reference)
        self.bias.neg_()  # the router shares this memory
        self.expect_same(router, reference)
        self.expect_same(copy.deepcopy(router), reference)

    def test_a_step_with_router_and_experts(self):
        w = torch.randn(5, 20, generator=torch.Generator().manual_seed(8)) * 0.3
        router, found = mt.Router(5, 2, score="softmax"), []
        for function, choose in ((mt.experts, router), (loop, lambda z: z.softmax(-1).topk(2)[::-1])):
            x, _, _, gate_up, down = data()
            head, x = w.clone().requires_grad_(), x.detach().requires_grad_()
            ids, gates = choose(x @ head.T)
            function(x, ids, gates, gate_up, down).square().sum().backward()
            found.append((x.grad, head.grad, gate_up.grad))
        for a, b in zip(*found):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)

    def test_ids_of_tokens_live_until_the_router_has_read_them(self):
        table = torch.tensor([[0, 1], [5, 2]], dtype=torch.int32)
        router, ids = mt.Router(8, 2, experts_of_id=table), torch.arange(1 << 14) % 2  # int64, of which the router gets a copy
        call, others = mt._c.call, []

        def after_others(*arguments):  # they take memory that was freed too early
            others.extend(torch.full((1 << 14,), 9, dtype=torch.int32) for _ in range(4))
            call(*arguments)

        with unittest.mock.patch.object(mt._c, "call", after_others):
            chosen, _ = router(torch.zeros(1 << 14, 8), ids)
        self.assertTrue(torch.equal(chosen, table[ids]))

    def test_refuses(self):
        ids, by_table = torch.zeros(33, dtype=torch.int64), lambda table: mt.Router(12, 1, score="sigmoid", experts_of_id=table)
        for part, call in {"logits: got": lambda: mt.Router(12, 3)(self.logits[0]), "topk": lambda: mt.Router(12, 13)(self.logits),
                           "nan for token 0": lambda: mt.Router(12, 3)(self.logits * float("nan")),
                           "token_ids": lambda: mt.Router(12, 1, score="sigmoid", experts_of_id=[[0], [1]])(self.logits),
                           "token_ids: got 4294967297": lambda: by_table([[0], [1]])(self.logits, torch.full((33,), (1 << 32) + 1)),
                           "token_ids: got torch.float": lambda: by_table([[0], [1]])(self.logits, torch.full((33,), 0.5)),
                           "experts_of_id: got 0 to 4294967297": lambda: by_table([[0], [(1 << 32) + 1]])(self.logits, ids)}.items():
            with self.assertRaises(moehill.Error) as caught:
                call()
            self.assertIn(part, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
