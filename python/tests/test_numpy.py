"""moehill for NumPy: against plain loops, without copies, with clear errors, and off Python's lock."""
import copy
import multiprocessing
import os
import pathlib
import pickle
import signal
import threading
import time
import unittest
import unittest.mock
import weakref

import numpy as np

import moehill

SIZES = dict(hidden=20, mlp_dim=12, experts=5, topk=2, max_tokens=30, shared_dim=7, dtype="f32")


def silu(a):
    return a / (1 + np.exp(-a))


def plain(x, ids, gates, gate_up, down, shared):
    y = np.zeros(x.shape)
    mlp = lambda row, w13, w2: w2 @ (silu(w13[:len(w13) // 2] @ row) * (w13[len(w13) // 2:] @ row))
    for t, row in enumerate(x.astype(np.float64)):
        for e, p in zip(ids[t], gates[t]):
            if e >= 0:
                y[t] += p * mlp(row, gate_up[e], down[e])
        y[t] += mlp(row, *shared)
    return y


def to_bf16(a):
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(a):
    return (a.astype(np.uint32) << 16).view(np.float32)


class Data:
    def __init__(self, tokens=30):
        r = np.random.default_rng(1)
        f32 = lambda *shape: (r.standard_normal(shape) / 3).astype(np.float32)
        self.gate_up, self.down, self.shared = f32(5, 24, 20), f32(5, 20, 12), (f32(14, 20), f32(20, 7))
        self.x, self.dy, self.gates = f32(tokens, 20), f32(tokens, 20), f32(tokens, 2)
        self.ids = r.integers(-1, 5, (tokens, 2)).astype(np.int32)
        self.y = plain(self.x, self.ids, self.gates, self.gate_up, self.down, self.shared)

    def block(self, context, **sizes):
        block = moehill.Block(context, **{**SIZES, **sizes})
        block.load_experts(gate_up=self.gate_up, down=self.down)
        block.load_shared(*self.shared)
        return block


def at_each_call(act):
    """Makes each call of the library call act(name) before it."""
    call = moehill._c.call
    return unittest.mock.patch.object(moehill._c, "call", lambda name, *arguments: (act(name), call(name, *arguments)))


class Owned:
    """Makes arrays that nobody else has, and looks whether they still live."""

    def __init__(self):
        self.references = []

    def __call__(self, array):
        array = array.copy()
        self.references.append(weakref.ref(array))
        return array

    def live(self):
        return len(self.references) > 0 and all(reference() is not None for reference in self.references)


class Copying:
    """Hands over a copy of an array by DLPack."""

    def __init__(self, array, owned):
        self.array, self.owned, self.shape, self.dtype = array, owned, array.shape, array.dtype

    def __dlpack__(self, **_):
        return self.owned(self.array).__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class LifetimeTest(unittest.TestCase):
    """From Python 3.11 on a function may be the only owner of its arguments, and the library must not read them after their end."""

    def expect_live(self, function, *names):
        """names: the calls of the library that function(owned) makes."""
        owned, seen = Owned(), []
        with at_each_call(lambda name: seen.append((name, owned.live()))):
            function(owned)
        self.assertEqual(seen, [(name, True) for name in names])

    def test_temporary_arrays_live_during_the_call(self):
        context, d = moehill.Context(threads_per_device=1), Data()
        table = np.array([[0, 1], [5, 2]], np.int32)
        router = moehill.Router(context, 6, 2, score="softmax", experts_of_id=table)
        ids, logits = np.arange(4096, dtype=np.int32) % 2, np.zeros((4096, 6), np.float32)
        self.expect_live(lambda o: np.testing.assert_array_equal(router.route(o(logits), o(ids))[0], table[ids]), "router_route")
        chosen = table[ids]
        self.expect_live(lambda o: router.backward(o(logits), o(chosen), o(chosen.astype(np.float32))), "router_backward")
        biased = moehill.Router(context, 6, 2, score="sigmoid", bias=np.zeros(6, np.float32))
        self.expect_live(lambda o: biased.set_bias(o(np.ones(6, np.float32))), "router_set_bias")
        stack, offsets, a = moehill.Stack(context, 2, 9, 11, dtype="f32"), np.array([0, 1, 3], np.int64), np.ones((3, 9), np.float32)
        index, dc = np.arange(3, dtype=np.int32), np.ones((3, 11), np.float32)
        self.expect_live(lambda o: stack.load(o(np.ones((2, 9, 11), np.float32))), "stack_load")
        self.expect_live(lambda o: stack.forward(o(offsets), o(a), o(index)), "gemm_forward")
        self.expect_live(lambda o: stack.input_grad(o(offsets), o(dc), o(index)), "gemm_input_grad")
        self.expect_live(lambda o: stack.take_weight_grad(o(offsets), o(a), o(dc), o(index), o(index)), "gemm_weight_grad")
        block = moehill.Block(context, **SIZES)
        self.expect_live(lambda o: block.load_experts(gate_up=o(d.gate_up), down=o(d.down)), "block_load_experts")
        self.expect_live(lambda o: block.load_shared(o(d.shared[0]), o(d.shared[1])), "block_load_shared")
        self.expect_live(lambda o: block.plan(o(d.ids), o(d.gates)), "block_plan")
        self.expect_live(lambda o: block.forward(o(d.x)), "block_forward")
        self.expect_live(lambda o: block.backward(o(d.x), o(d.dy)), "block_backward")

    def test_copies_by_dlpack_live_during_the_call(self):
        context, d, bias = moehill.Context(threads_per_device=1), Data(), np.zeros(6, np.float32)
        router = moehill.Router(context, 6, 2, score="sigmoid", bias=bias)
        self.expect_live(lambda o: moehill.Router(context, 6, 2, score="sigmoid", bias=Copying(bias, o)), "router_create")
        self.expect_live(lambda o: router.set_bias(Copying(bias, o)), "router_set_bias")
        block = moehill.Block(context, **SIZES)
        self.expect_live(lambda o: block.load_experts(down=Copying(d.down, o)), "block_load_experts")
        stack, offsets, a = moehill.Stack(context, 2, 9, 11, dtype="f32"), np.array([0, 1, 3], np.int64), np.ones((3, 9), np.float32)
        index = np.arange(3, dtype=np.int32)
        self.expect_live(lambda o: stack.forward(*(Copying(array, o) for array in (offsets, a, index))), "gemm_forward")


class FormTest(unittest.TestCase):
    """Experts with biases that are not gated, and a shared one with a gate; their gradients by finite differences."""

    def test_equals_plain_loops(self):
        r = np.random.default_rng(3)
        f32 = lambda *shape: (r.standard_normal(shape) / 3).astype(np.float32)
        e, t, h, m, s = 3, 11, 20, 12, 7
        w = {"gate": f32(e, m, h), "down": f32(e, h, m), "gate_bias": f32(e, m), "down_bias": f32(e, h)}
        inner = 9  # the width of the rows that experts see
        w.update(gate=f32(e, m, inner), down=f32(e, inner, m), down_bias=f32(e, inner))
        shared = {"gate": f32(s, h), "down": f32(h, s), "shared_gate": f32(h), "latent_down": f32(inner, h),
                  "latent_up": f32(h, inner), "latent_norm": f32(inner)}
        x, gates = f32(t, h), f32(t, 2)
        ids = r.integers(-1, e, (t, 2)).astype(np.int32)

        def step(block):
            block.load_experts(**w)
            block.load_shared(**shared)
            block.plan(ids, gates)
            return block.forward(x)

        def loss():  # of y^2 / 2, in double
            up = lambda row, w1, b1: np.maximum(w1 @ row + b1, 0) ** 2
            y = np.zeros(x.shape)
            for i, row in enumerate(x.astype(np.float64)):
                z, sums = shared["latent_down"] @ row, np.zeros(inner)
                for j, p in zip(ids[i], gates[i]):
                    if j >= 0:
                        sums += p * (w["down"][j] @ up(z, w["gate"][j], w["gate_bias"][j]) + w["down_bias"][j])
                y[i] = shared["latent_up"] @ (shared["latent_norm"] * sums / np.sqrt((sums ** 2).mean() + 1e-3))
                y[i] += shared["down"] @ up(row, shared["gate"], 0) / (1 + np.exp(-shared["shared_gate"] @ row))
            return y, (y ** 2).sum() / 2

        block = moehill.Block(moehill.Context(devices=2, threads_per_device=1), hidden=h, mlp_dim=m, experts=e, topk=2, max_tokens=t,
                              shared_dim=s, dtype="f32", activation="relu2", gated=False, biases=True, shared_gate=True,
                              latent_dim=inner, latent_norm=1e-3)
        y = step(block)
        np.testing.assert_allclose(y, loss()[0], atol=1e-5)
        block.backward(x, y)
        experts, one = block.expert_gradients(), block.shared_gradients()
        self.assertEqual([g.shape for g in experts], [(e, m, inner), (e, inner, m), (e, m), (e, inner)])
        out = tuple(np.empty(g.shape, np.uint16) for g in experts)
        self.assertIs(block.expert_gradients(out)[1], out[1])
        for narrow, wide in zip(out, experts):
            np.testing.assert_array_equal(narrow, to_bf16(wide))
        with self.assertRaisesRegex(moehill.Error, "out: got 2 arrays, allowed: gate, down, gate_bias, down_bias"):
            block.expert_gradients(out[:2])
        for name, array, gradient in [(n, w[n], g) for n, g in zip(("gate", "down", "gate_bias", "down_bias"), experts)] + [
                (n, shared[n], g) for n, g in zip(("gate", "down", "shared_gate", "latent_down", "latent_up", "latent_norm"), one)]:
            place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
            kept, sides = array[place], []
            for d in (1e-2, -1e-2):
                array[place] = kept + d
                sides.append(loss()[1])
            array[place] = kept
            self.assertLess(abs((sides[0] - sides[1]) / 2e-2 / gradient[place] - 1), 1e-2, name)

    def test_says_what_does_not_fit(self):
        context = moehill.Context(threads_per_device=1)
        for part, more in {"activation: got 'tanh'": dict(activation="tanh"), "limit: got -1": dict(limit=-1),
                           "limit: got 'x'": dict(limit="x"), "alpha": dict(alpha=1), "gated": dict(gated=False)}.items():
            with self.assertRaisesRegex(moehill.Error, part):
                moehill.Block(context, **{**SIZES, **more})
        block = moehill.Block(context, **{**SIZES, "biases": True})
        with self.assertRaisesRegex(moehill.Error, r"gate_up_bias: got float32 \(5, 12\)"):
            block.load_experts(gate_up_bias=np.zeros((5, 12), np.float32))
        with self.assertRaisesRegex(moehill.Error, "shared_gate: got memory"):
            block.load_shared(shared_gate=np.zeros(20, np.float32))


class RouterTest(unittest.TestCase):
    def test_chooses_weighs_and_differentiates(self):
        logits = np.random.default_rng(4).standard_normal((9, 6)).astype(np.float32)
        bias = np.array([0, 0, 5, 0, 0, 0], np.float32)
        router = moehill.Router(moehill.Context(threads_per_device=2), 6, 2, score="sigmoid", bias=bias, factor=3)
        ids, gates = router.route(logits)
        s = 1 / (1 + np.exp(-logits.astype(np.float64)))
        np.testing.assert_array_equal(ids, np.argsort(-(s + bias), axis=1)[:, :2])
        self.assertTrue((ids[:, 0] == 2).all())
        np.testing.assert_allclose(gates, 3 * np.take_along_axis(s, ids, 1), atol=1e-5)
        d_logits = router.backward(logits, ids, np.ones_like(gates))
        expected = np.zeros(logits.shape)
        np.put_along_axis(expected, ids, np.take_along_axis(3 * s * (1 - s), ids, 1), 1)
        np.testing.assert_allclose(d_logits, expected, atol=1e-5)
        router.set_bias(np.roll(bias, 1))
        self.assertTrue((router.route(logits)[0][:, 0] == 3).all())
        table = np.array([[0, 1], [5, 2]], np.int32)
        hashed = moehill.Router(moehill.Context(threads_per_device=1), 6, 2, score="softmax", experts_of_id=table)
        ids, _ = hashed.route(logits, np.arange(9, dtype=np.int32) % 2)
        np.testing.assert_array_equal(ids, table[np.arange(9) % 2])

    def test_keeps_its_sizes_when_the_callers_numbers_change(self):
        experts, topk, logits = np.array(6), np.array(2), np.zeros((3, 6), np.float32)
        router = moehill.Router(moehill.Context(threads_per_device=1), experts, topk)
        experts[...], topk[...] = 1, 1
        ids, gates = router.route(logits)
        self.assertEqual((ids.shape, gates.shape), ((3, 2), (3, 2)))

    def test_says_what_does_not_fit(self):
        context, logits = moehill.Context(threads_per_device=1), np.zeros((3, 6), np.float32)
        router = moehill.Router(context, 6, 2)
        for part, call in {"score: got 'tanh'": lambda: moehill.Router(context, 6, 2, score="tanh"),
                           "bias: got": lambda: moehill.Router(context, 6, 2, score="sigmoid", bias=np.zeros(5, np.float32)),
                           "groups": lambda: moehill.Router(context, 6, 2, score="sigmoid", groups=4),
                           "SPARSEMIXER cannot be used": lambda: moehill.Router(context, 6, 2, score="sparsemixer", factor=2),
                           "jitter: got": lambda: moehill.Router(context, 6, 2, score="sparsemixer", jitter=2),
                           "factor: got 'x'": lambda: moehill.Router(context, 6, 2, factor="x"),
                           "logits: got": lambda: router.route(logits[:, :5]),
                           "expert ids: got": lambda: router.backward(logits, np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float32)),
                           "expert_ids: got -1": lambda: router.backward(logits, np.full((3, 2), -1, np.int32), np.zeros((3, 2), np.float32)),
                           "without": lambda: router.set_bias(np.zeros(6, np.float32))}.items():
            with self.assertRaisesRegex(moehill.Error, part):
                call()
        with self.assertRaises(TypeError):
            moehill.Router(context, 6, 2, temperature=1)


class StackTest(unittest.TestCase):
    def test_products_are_those_of_numpy(self):
        r = np.random.default_rng(2)
        f32 = lambda *shape: r.standard_normal(shape).astype(np.float32)
        offsets, w, a, index = np.array([0, 3, 3, 8], np.int64), f32(3, 9, 11), f32(5, 9), np.array([4, -1, 0, 1, 1, 2, 3, 4], np.int32)
        rows = np.where(index[:, None] >= 0, a[index], 0)
        group = np.repeat(np.arange(3), np.diff(offsets))
        context = moehill.Context(threads_per_device=2)
        for order, given in (("in_out", w), ("out_in", np.ascontiguousarray(w.swapaxes(1, 2)))):
            stack = moehill.Stack(context, 3, 9, 11, dtype="f32")
            stack.load(given, order=order)
            np.testing.assert_array_equal(stack.store(order=order), given)
            np.testing.assert_allclose(stack.forward(offsets, a, index), np.einsum("rk,rkn->rn", rows, w[group]), atol=1e-5)
            dc = f32(8, 11)
            np.testing.assert_allclose(stack.input_grad(offsets, dc), np.einsum("rn,rkn->rk", dc, w[group]), atol=1e-5)
            stack.take_weight_grad(offsets, a, dc, a_index=index)
            expected = [rows[group == g].T @ dc[group == g] for g in range(3)]
            np.testing.assert_allclose(stack.store(), expected, atol=1e-5)

    def test_keeps_its_sizes_when_the_callers_numbers_change(self):
        groups, k, n = np.array(2), np.array(9), np.array(11)
        stack = moehill.Stack(moehill.Context(threads_per_device=1), groups, k, n, dtype="f32")
        groups[...], k[...], n[...] = 1, 1, 1
        stack.load(np.ones((2, 9, 11), np.float32))
        self.assertEqual(stack.store().shape, (2, 9, 11))
        self.assertEqual(stack.forward(np.array([0, 1, 3], np.int64), np.ones((3, 9), np.float32)).shape, (3, 11))

    def test_a_call_of_another_thread_does_not_change_the_size_of_results(self):
        stack = moehill.Stack(moehill.Context(threads_per_device=1), 2, 9, 11, dtype="f32")
        stack.load(np.ones((2, 9, 11), np.float32))
        a, rows = np.ones((400, 9), np.float32), stack._rows

        def meanwhile(*arguments):
            stack._rows = rows
            found = rows(*arguments)
            self.assertEqual(stack.forward(np.array([0, 1, 1], np.int64), a[:1]).shape, (1, 11))
            return found

        stack._rows = meanwhile
        self.assertEqual(stack.forward(np.array([0, 100, 400], np.int64), a).shape, (400, 11))

    def test_says_what_does_not_fit(self):
        stack = moehill.Stack(moehill.Context(threads_per_device=1), 2, 9, 11, dtype="f32")
        offsets, a = np.array([0, 1, 3], np.int64), np.ones((3, 9), np.float32)
        for part, call in {"offsets": lambda: stack.forward(offsets[:2], a), "a: got": lambda: stack.forward(offsets, a[:, :8]),
                           "2 rows": lambda: stack.forward(offsets, a[:2]),
                           "index": lambda: stack.forward(offsets, a, np.zeros(2, np.int32)),
                           "row 3": lambda: stack.forward(offsets, a, np.array([0, 1, 3], np.int32)),
                           "never fall": lambda: stack.forward(np.array([0, 4, 3], np.int64), a),
                           "0 to 1": lambda: stack.store(1, 2), "without gaps": lambda: stack.load(np.ones((2, 11, 9), np.float32)),
                           "none": lambda: stack.load(None)}.items():
            with self.assertRaises(moehill.Error) as caught:
                call()
            self.assertIn(part, str(caught.exception))


class BlockTest(unittest.TestCase):
    def test_equals_plain_loops(self):
        d = Data()
        for devices in (1, 2):
            block = d.block(moehill.Context(devices=devices, threads_per_device=1))
            block.plan(d.ids, d.gates)
            np.testing.assert_allclose(block.forward(d.x), d.y, atol=1e-5)
            dx, d_gates = block.backward(d.x, d.dy)
            # The directional derivative of <dy, y> by differences in double.
            step, direction = 1e-6, np.random.default_rng(2).standard_normal(d.x.shape)
            shifted = [plain(d.x + s * step * direction, d.ids, d.gates, d.gate_up, d.down, d.shared) for s in (1, -1)]
            expected = np.sum(d.dy * (shifted[0] - shifted[1])) / (2 * step)
            self.assertAlmostEqual(np.sum(dx * direction), expected, delta=1e-3 * abs(expected) + 1e-3)
            self.assertTrue(np.all(d_gates[d.ids < 0] == 0))
            d_gate_up, d_down = block.expert_gradients()
            more = d.down + step * np.ones_like(d.down, np.float64)
            by_down = np.sum(d.dy * (plain(d.x, d.ids, d.gates, d.gate_up, more, d.shared) - d.y)) / step
            self.assertAlmostEqual(np.sum(d_down), by_down, delta=1e-3 * abs(by_down) + 1e-2)
            self.assertEqual(d_gate_up.shape, (5, 24, 20))
            self.assertEqual(block.shared_gradients()[0].shape, (14, 20))

    def test_bf16_is_uint16(self):
        d = Data()
        block = d.block(moehill.Context(threads_per_device=1), dtype="bf16")
        block.plan(d.ids, d.gates)
        y = block.forward(to_bf16(d.x))
        self.assertEqual(y.dtype, np.uint16)
        np.testing.assert_allclose(from_bf16(y), d.y, atol=0.05)

    def test_an_interrupted_plan_is_no_plan(self):
        d, call, context = Data(), moehill._c.call, moehill.Context(threads_per_device=1)
        block, exchange = d.block(context), moehill.Exchange(context, 20, 5, 2, 30, dtype="f32")

        def interrupted(*arguments):
            call(*arguments)
            raise KeyboardInterrupt

        for plan in (block.plan, exchange.plan):
            plan(d.ids, d.gates)
            with unittest.mock.patch.object(moehill._c, "call", interrupted), self.assertRaises(KeyboardInterrupt):
                plan(d.ids, d.gates)
        one = d.x[:1]  # the library has a plan of 30 tokens now
        for use in (lambda: block.forward(one), lambda: block.backward(one, one), lambda: exchange.dispatch(one),
                    lambda: exchange.combine(one), lambda: exchange.combine_backward(one, one),
                    lambda: exchange.dispatch_backward(one)):
            with self.assertRaisesRegex(moehill.Error, "_plan first") as caught:
                use()
            self.assertEqual(caught.exception.status, 2)
        block.plan(d.ids, d.gates)
        np.testing.assert_allclose(block.forward(d.x), d.y, atol=1e-5)

    def test_results_go_where_they_are_wanted(self):
        d = Data()
        block = d.block(moehill.Context(threads_per_device=1))
        block.plan(d.ids, d.gates)
        out = np.empty_like(d.x)
        self.assertIs(block.forward(d.x, out), out)
        np.testing.assert_allclose(out, d.y, atol=1e-5)

    def test_no_bytes_of_another_order_and_nothing_to_read_only(self):
        data = Data()
        block, x = data.block(moehill.Context(threads_per_device=1)), data.x
        block.plan(data.ids, data.gates)
        with self.assertRaisesRegex(moehill.Error, "order of bytes"):
            block.forward(x.astype(">f4"))
        out = np.zeros_like(x)
        out.flags.writeable = False
        with self.assertRaisesRegex(moehill.Error, "read-only"):
            block.forward(x, out)
        self.assertEqual(np.abs(out).max(), 0)

    def test_objects_are_not_copied(self):
        block = Data().block(moehill.Context(threads_per_device=1))
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with self.assertRaisesRegex(moehill.Error, "make another one"):
                make(block)

    def test_says_what_is_wrong(self):
        d = Data()
        block = d.block(moehill.Context(threads_per_device=1))
        for part, call in {"plan": lambda: block.forward(np.empty((0, 20), np.float32)),
                           "float32": lambda: block.plan(d.ids, d.gates.astype(np.float64)),
                           "without gaps": lambda: block.plan(d.ids, np.asfortranarray(d.gates)),
                           "int32": lambda: block.plan(d.ids.astype(np.int64), d.gates),
                           "max_tokens": lambda: block.plan(np.zeros((31, 2), np.int32), np.zeros((31, 2), np.float32)),
                           "0 to 4": lambda: block.load_experts(first=3, down=d.down),
                           "out_in": lambda: block.load_experts(down=d.down, order="rows"),
                           "hidden": lambda: moehill.Block(moehill.Context(), **{**SIZES, "hidden": 0}),
                           "fused": lambda: moehill.Block(moehill.Context(), path="best", **SIZES)}.items():
            with self.assertRaises(moehill.Error) as caught:
                call()
            self.assertIn(part, str(caught.exception))

    def test_weights_in_the_other_order(self):
        d = Data()
        block = moehill.Block(moehill.Context(threads_per_device=1), **SIZES)
        turned = [np.ascontiguousarray(w.transpose(0, 2, 1)) for w in (d.gate_up, d.down)]
        block.load_experts(gate_up=turned[0], down=turned[1], order="in_out")
        block.load_shared(*d.shared)
        block.plan(d.ids, d.gates)
        np.testing.assert_allclose(block.forward(d.x), d.y, atol=1e-5)

    def test_no_experts_are_no_error(self):
        block = Data().block(moehill.Context(threads_per_device=1))
        block.load_experts(5, gate_up=np.empty((0, 24, 20), np.float32), down=np.empty((0, 20, 12), np.float32))
        with self.assertRaisesRegex(moehill.Error, r"down: got .*allowed: float32 \(0, 20, 12\)"):
            block.load_experts(5, gate_up=np.empty((0, 24, 20), np.float32), down=np.empty((0, 20, 13), np.float32))

    def test_says_what_is_no_array_number_or_object(self):
        d = Data()
        context = moehill.Context(threads_per_device=1)
        block, stack = d.block(context), moehill.Stack(context, 2, 9, 11, dtype="f32")
        exchange = moehill.Exchange(context, 20, 5, 2, 30, dtype="f32")

        class NoCpu:
            shape = (30, 20)

            def __dlpack__(self, **_):
                raise BufferError("on another device")

        offsets, a = np.array([0, 1, 1 << 40], np.int64), np.ones((3, 9), np.float32)
        for status, part, call in ((1, "weights' types: got none", block.load_experts),
                                   (1, "gate_up: got float without axes", lambda: block.load_experts(gate_up=1.0)),
                                   (1, "got list", lambda: block.load_shared(gate_up=[[1.0]])),
                                   (1, "expert ids: got int", lambda: block.plan(3, d.gates)),
                                   (1, "a: got float", lambda: stack.forward(offsets, 1.0)),
                                   (1, "matrices: got float32 without axes", lambda: stack.load(np.float32(1))),
                                   (1, "got 1.0, allowed: an integer", lambda: block.load_experts(1.0, down=d.down)),
                                   (1, "hidden: got 'a'", lambda: moehill.Block(context, **{**SIZES, "hidden": "a"})),
                                   (1, "context: got NoneType", lambda: moehill.Block(None, **SIZES)),
                                   (1, "context: got int", lambda: moehill.suggest(3, 30, **SIZES)),
                                   (1, "dtype: got ..f32", lambda: moehill.Block(context, **{**SIZES, "dtype": ["f32"]})),
                                   (1, "order: got .., allowed", lambda: stack.store(order=[])),
                                   (1, "first: got 'a'", lambda: stack.store(first="a")),
                                   (1, "stay below", lambda: stack.forward(offsets, a)),
                                   (2, "moehill_exchange_plan first", lambda: exchange.dispatch(d.x)),
                                   (2, "moehill_exchange_plan first", lambda: exchange.combine_backward(d.x, d.x)),
                                   (2, "moehill_block_plan first", lambda: block.forward(d.x)),
                                   (2, "moehill_block_plan first", lambda: block.backward(d.x, d.dy)),
                                   (2, "moehill_block_forward first",
                                    lambda: (block.plan(d.ids, d.gates), block.backward(d.x, d.dy))),
                                   (1, "x: got a NoCpu.*on another device", lambda: block.forward(NoCpu()))):
            with self.assertRaisesRegex(moehill.Error, part) as caught:
                call()
            self.assertEqual(caught.exception.status, status)
        self.assertEqual(block.load_experts(np.int64(0), down=d.down), None)  # an integer of NumPy

    def test_suggests_a_path(self):
        path, seconds, by_path = moehill.suggest(moehill.Context(devices=2, threads_per_device=1), 30, **SIZES)
        self.assertEqual(by_path[path], seconds)
        self.assertEqual(seconds, min(by_path.values()))

    def test_names_of_hardware_are_passed_as_they_are(self):
        context = moehill.Context(devices=2, threads_per_device=1)
        suggest = lambda hardware: moehill.suggest(context, 30, hardware, **SIZES)
        self.assertEqual(suggest(pathlib.Path("epyc-2-core")), suggest("epyc-2-core"))
        # A zero would end the name in C, and a path of Linux need not be UTF-8.
        for name in ("epyc-2-core\0x", os.fsdecode(b"/\xff"), 5):
            with self.assertRaisesRegex(moehill.Error, "hardware: got") as caught:
                suggest(name)
            self.assertEqual(caught.exception.status, 1)


class ExchangeTest(unittest.TestCase):
    def test_goes_there_and_back(self):
        d = Data()
        for devices in (1, 2):
            exchange = moehill.Exchange(moehill.Context(devices=devices, threads_per_device=1), 20, 5, 2, 30, dtype="f32")
            rows = exchange.plan(d.ids, d.gates)
            self.assertEqual(rows, np.sum(d.ids >= 0))
            there = exchange.dispatch(d.x)
            y = exchange.combine(there)
            weight = np.where(d.ids >= 0, d.gates, 0).sum(1, keepdims=True)
            np.testing.assert_allclose(y, weight * d.x, atol=1e-5)
            d_rows, d_gates = exchange.combine_backward(d.dy, there)
            np.testing.assert_allclose(exchange.dispatch_backward(d_rows), weight * d.dy, atol=1e-5)
            np.testing.assert_allclose(d_gates, np.where(d.ids >= 0, np.sum(d.x * d.dy, 1, keepdims=True), 0), atol=1e-4)

    def test_a_caller_cannot_change_the_size_of_results(self):
        d = Data()
        exchange = moehill.Exchange(moehill.Context(threads_per_device=1), 20, 5, 2, 30, dtype="f32")
        rows = exchange.plan(d.ids, d.gates)
        first = exchange.offsets
        with self.assertRaises(ValueError):
            first[-1] = 0
        first.flags.writeable = True
        first[-1], exchange.num_experts = 0, 0
        self.assertEqual(exchange.dispatch(d.x).shape, (rows, 20))
        exchange.offsets = np.zeros(1, np.int64)
        self.assertEqual(exchange.plan(d.ids, d.gates), rows)
        self.assertEqual(exchange.offsets.shape, (6,))
        self.assertEqual(exchange.offsets[-1], rows)
        self.assertEqual(exchange.dispatch(d.x).shape, (rows, 20))


def use_in_child(block, x, results):
    try:
        block.forward(x)
        results.put("no error")
    except moehill.Error as error:
        results.put(str(error))


class ProcessTest(unittest.TestCase):
    def test_a_forked_worker_is_told(self):
        d = Data()
        block = d.block(moehill.Context(devices=2, threads_per_device=1))
        block.plan(d.ids, d.gates)
        fork = multiprocessing.get_context("fork")
        results = fork.Queue()
        child = fork.Process(target=use_in_child, args=(block, d.x, results))
        child.start()
        self.assertIn("after a fork", results.get(timeout=60))
        child.join(60)
        self.assertEqual(child.exitcode, 0)
        np.testing.assert_allclose(block.forward(d.x), d.y, atol=1e-5)

    def test_other_threads_run_meanwhile(self):
        block = moehill.Block(moehill.Context(threads_per_device=1), hidden=256, mlp_dim=512, experts=4, topk=2,
                              max_tokens=2048, dtype="f32", training=False)
        x = np.ones((2048, 256), np.float32)
        block.plan(np.tile(np.int32([0, 1]), (2048, 1)), np.ones((2048, 2), np.float32))
        count, stop = [0], threading.Event()

        def work():
            while not stop.is_set():
                count[0] += 1
                time.sleep(0)

        other = threading.Thread(target=work)
        other.start()
        block.forward(x)
        before = count[0]
        block.forward(x)
        after = count[0]
        stop.set()
        other.join()
        self.assertGreater(after, before + 10)

    def test_control_c_works(self):
        d = Data()
        block = d.block(moehill.Context(devices=2, threads_per_device=1))
        block.plan(d.ids, d.gates)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            end = time.time() + 60
            while time.time() < end:
                block.forward(d.x)
        np.testing.assert_allclose(block.forward(d.x), d.y, atol=1e-5)


if __name__ == "__main__":
    unittest.main()
