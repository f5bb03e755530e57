"""moehill for NumPy over processes, with communicators of mpi4py: mpirun -n 2 test_mpi.py. Each has tokens of its own."""
import numpy as np
from mpi4py import MPI

import moehill
from test_numpy import plain

world = MPI.COMM_WORLD
r = np.random.default_rng(3)  # the same in all processes
f32 = lambda *shape: (r.standard_normal(shape) / 3).astype(np.float32)
E, H, M, K = 5, 20, 12, 2
gate_up, down, shared = f32(E, 2 * M, H), f32(E, H, M), (f32(14, H), f32(H, 7))
counts = [7 if rank % 2 else 3 for rank in range(world.size)]  # tokens of each process
begin = sum(counts[:world.rank])
x, dy, gates = f32(sum(counts), H), f32(sum(counts), H), f32(sum(counts), K)
ids = r.integers(-1, E, (sum(counts), K)).astype(np.int32)
y = plain(x, ids, gates, gate_up, down, shared)

alone = moehill.Block(moehill.Context(threads_per_device=1), hidden=H, mlp_dim=M, experts=E, topk=K, shared_dim=7,
                      max_tokens=sum(counts), dtype="f32")
alone.load_experts(gate_up=gate_up, down=down)
alone.load_shared(*shared)
alone.plan(ids, gates)
alone.forward(x)
dx, d_gates = alone.backward(x, dy)
d_gate_up, d_down = alone.expert_gradients()

for comm in (world, world.Split(0, -world.rank)):  # the second in the other order of ranks
    offsets = [sum(counts[:n]) for n in range(world.size + 1)]
    own = slice(offsets[world.rank], offsets[world.rank + 1])
    context = moehill.Context(mpi_comm=comm, threads_per_device=1)
    assert (context.rank, context.processes, context.devices) == (comm.rank, comm.size, comm.size)
    for path in ("fused", "ring_ag_rs", "data_parallel"):
        block = moehill.Block(context, hidden=H, mlp_dim=M, experts=E, topk=K, shared_dim=7, max_tokens=7, dtype="f32", path=path)
        mine = slice(block.first_expert, block.first_expert + block.num_experts)
        block.load_experts(gate_up=gate_up[mine], down=down[mine])
        block.load_shared(*shared)
        block.plan(ids[own], gates[own])
        np.testing.assert_allclose(block.forward(x[own]), y[own], atol=1e-5)
        got = block.backward(x[own], dy[own])
        for ours, expected in zip((*got, *block.expert_gradients()), (dx[own], d_gates[own], d_gate_up[mine], d_down[mine])):
            np.testing.assert_allclose(ours, expected, atol=2e-5)
    # All processes hear of an error of one process, and none waits.
    try:
        block.plan(ids[own] + (comm.rank == 0) * 9, gates[own])
        assert False, "bad ids were taken"
    except moehill.Error as error:
        assert error.status == (1 if comm.rank == 0 else 5), error
    # They also hear of an error that Python finds before the library does.
    errs = comm.rank == 0
    block.plan(ids[own], gates[own])
    block.forward(x[own])
    sizes = dict(hidden=H, mlp_dim=M, experts=E, topk=K, max_tokens=7)
    exchange = moehill.Exchange(context, H, E, K, 7, dtype="f32")
    for call in (lambda: block.forward(x[own].astype(np.float64 if errs else np.float32)),
                 lambda: block.backward(x[own], None if errs else dy[own]),
                 lambda: block.plan(ids[own].astype(np.int64 if errs else np.int32), gates[own]),
                 lambda: exchange.plan(ids[own], gates[own, :1] if errs else gates[own]),
                 lambda: moehill.Block(context, **sizes, dtype="f64" if errs else "f32"),
                 lambda: moehill.Exchange(context, H, E, 1.5 if errs else K, 7),
                 lambda: block.shared_gradients(out=5 if errs else None),  # a TypeError
                 lambda: moehill.Block(context, **sizes, **({"depth": 3} if errs else {}))):
        try:
            call()
            assert False, "an error of one process was not heard"
        except (moehill.Error, TypeError) as error:
            assert getattr(error, "status", 1) == (1 if errs else 5), error
    # A process may have no expert.
    few = moehill.Block(context, **{**sizes, "experts": 1, "topk": 1}, dtype="f32")
    few.load_experts(gate_up=gate_up[:few.num_experts], down=down[:few.num_experts])
    assert comm.allreduce(few.num_experts) == 1
    del few, exchange, block, context  # in all processes together
    world.Barrier()
print(f"rank {world.rank} of {world.size} agrees")
