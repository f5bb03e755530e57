"""This module puts the programs that take part in ./compare behind one interface:

    check(case)     {tensor: deviation} of one run, before anything is timed
    measure(case)   {name of a sample's case: (seconds, FLOPs)} of one round
    name, version, instructions
"""
import hashlib
import json
import os
import re
import shlex
import statistics
import subprocess
from pathlib import Path

import operands

PEERS = Path(__file__).resolve().parent
OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"  # the fastest BLAS for PyTorch's f32 products
DIRECTIONS = ("forward", "input_grad", "weight_grad")


class Missing(Exception):
    """A peer is not there: nothing has run."""


class Failed(Exception):
    """A contender ended in an error."""


def cold_bytes():
    """Returns the bytes to read until the L2 and L3 hold nothing older: about what moehill reads before a step."""
    total = 0
    for level in (2, 3):
        path = Path(f"/sys/devices/system/cpu/cpu0/cache/index{level}/size")
        text = path.read_text().strip() if path.exists() else "32768K"
        total += int(text[:-1]) * (1 << 10 if text.endswith("K") else 1 << 20)
    return 3 * total


def environment(threads, **more):
    """Returns the environment of a worker. Memory that PyTorch frees stays with the process, in huge pages, since page faults would
    slow PyTorch down."""
    values = dict(os.environ, OMP_NUM_THREADS=str(threads), BLIS_NUM_THREADS=str(threads), COLD_BYTES=str(cold_bytes()),
                  GLIBC_TUNABLES="glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
                                 "glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456")
    values["LD_LIBRARY_PATH"] = OPENBLAS + ":" + values.get("LD_LIBRARY_PATH", "")
    values.pop("OPENBLAS_CORETYPE", None)  # OpenBLAS chooses its kernels itself; every result is checked
    return dict(values, **more)


class Worker:
    """A process that answers each line with a line of JSON, and sleeps in between."""

    def __init__(self, command, threads):
        self.command = list(map(str, command))
        try:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            env=environment(threads))
        except OSError as error:
            raise Failed(f"{shlex.join(self.command)}: {error}") from None
        self.about = self.read()

    def read(self):
        line = self.process.stdout.readline()
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise Failed(f"{shlex.join(self.command)} answered {line.strip()!r}; see its message above") from None

    def ask(self, *words):
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{shlex.join(self.command)} has ended; see its message above") from None
        return self.read()

    def check(self, what):
        return self.ask("check", what)["deviation"]

    def seconds(self, what, count):
        return statistics.median(self.ask("time", what, count)["seconds"])

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Moehill:
    """The contender moehill. Every round is a process of its own."""
    name = "moehill"

    def __init__(self, binary, threads, operands_root):
        self.binary, self.threads, self.root = binary, threads, operands_root
        try:
            self.build = hashlib.sha256(Path(binary).read_bytes()).hexdigest()[:16]
            record, = self.run("bench", "--tokens", 1, "--hidden", 8, "--mlp-dim", 8, "--experts", 1, "--topk", 1,
                               "--shared-expert-dim", 0, "--iters", 1)
        except (OSError, Failed) as error:
            raise Missing(f"moehill: {binary} does not run: build it with ./run build, or name it by --moehill\n{error}") from None
        self.version = f"{record['env']['build']}, {record['env']['compiler']}"
        self.instructions, self.peak_gflops = "", None

    def run(self, *arguments):
        command = list(map(str, (self.binary, *arguments, "--json", "-")))
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise Failed(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def bench(self, case, *more):
        hidden, mlp_dim, experts, shared = case.shape
        record, = self.run("bench", "--tokens", case.tokens, "--topk", case.topk, "--hidden", hidden, "--mlp-dim", mlp_dim,
                           "--experts", experts, "--shared-expert-dim", shared, "--dtype", case.dtype,
                           "--none-threads", self.threads, "--warmup", 0, *more)
        self.instructions = record["env"]["kernel"]
        self.peak_gflops = 1e3 * record["peak"]["tflops_measured"]
        return record

    def folders(self, case):
        """Returns the folders (weights, case): the operands that peers read, and the results of a step that moehill has checked."""
        return operands.prepare(self.root, case, lambda folder: self.bench(case, "--iters", 1, "--dump", folder))

    def check(self, case):
        """Returns moehill's errors by its own check. It runs once for each build, and raises Failed if the check fails."""
        if case.kind == "gemm":
            return {}  # the tests and `moehill check` check the kernels
        file = self.folders(case)[1] / f"checked-{case.bench_pass}-{self.build}.json"
        if not file.exists():
            record = self.bench(case, "--bench-pass", case.bench_pass, "--iters", 1)
            if abs(record["tflops"] * 1e12 * record["time_s"]["median"] / case.flops - 1) > 1e-6:
                raise Failed(f"{case.name}: moehill counts other FLOPs than this script")
            file.write_text(json.dumps({"y": record["check"]["forward_rel_err"], **record["check"]["grad_rel_err"]}))
        return json.loads(file.read_text())

    def measure(self, case):
        if case.kind == "step":
            record = self.bench(case, "--bench-pass", case.bench_pass, "--iters", case.steps, "--check", "off")
            return {case.name: (record["time_s"]["median"], case.flops)}
        hidden, mlp_dim = case.shape[:2]
        records = self.run("kernels", "--rows", case.rows, "--hidden", hidden, "--mlp-dim", mlp_dim, "--dtype", case.dtype,
                           "--iters", case.steps, "--groups", case.groups, "--max-rows", case.total_rows, "--threads", self.threads)
        if records[0]["total_rows"] != case.total_rows or records[0]["columns"] != case.columns:
            raise Failed(f"{case.name}: moehill multiplies other matrices than this script")
        self.instructions, self.peak_gflops = records[0]["peak_instruction"], records[0]["peak_gflops"]
        return {f"{case.name}/{r['direction']}": (case.flops / r["gmm_gflops"] / 1e9, case.flops) for r in records}

    def stop(self):
        pass


class StepPeer:
    """A worker that runs a block on dumped operands; one for all cases of a dtype."""

    def __init__(self, moehill, threads):
        self.moehill, self.threads, self.worker, self.dtype = moehill, threads, None, None

    def command(self, dtype, weights):
        raise NotImplementedError

    def what(self, case):
        weights, folder = self.moehill.folders(case)
        if self.dtype != (case.dtype, case.shape):
            self.stop()
            self.worker, self.dtype = Worker(self.command(case.dtype, weights), self.threads), (case.dtype, case.shape)
        return f"{case.bench_pass}:{folder}"

    def check(self, case):
        what = self.what(case)
        return self.worker.check(what)

    def measure(self, case):
        what = self.what(case)
        return {case.name: (self.worker.seconds(what, case.steps), case.flops)}

    def stop(self):
        if self.worker:
            self.worker.stop()
        self.worker = self.dtype = None


class Torch(StepPeer):
    def __init__(self, moehill, threads, python):
        super().__init__(moehill, threads)
        self.python = shlex.split(python)
        self.kernels = {}
        for dtype in ("bf16", "f32"):
            self.version, self.kernels[dtype] = self.describe(dtype)
        self.name = "PyTorch " + ".".join(self.version.split(".")[:2])

    def describe(self, dtype):
        """Returns (version, the kernel that multiplies), by what oneDNN says of a product, or else by PyTorch's BLAS."""
        command = [*self.python, str(PEERS / "torch_moe.py"), "--describe", dtype]
        try:
            done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=environment(self.threads, ONEDNN_VERBOSE="1", DNNL_VERBOSE="1"))
            about = json.loads(done.stdout.splitlines()[-1])
        except (OSError, IndexError, json.JSONDecodeError):
            raise Missing(f"PyTorch: {shlex.join(self.python)} cannot import torch: apt-get install python3-torch, name another "
                          "Python by --torch, or leave it out of --peers") from None
        onednn = re.search(r"exec,cpu,(?:matmul|inner_product),([^,]+)", done.stdout)
        library = re.search(r"info,oneDNN (v[\d.]+)", done.stdout)
        kernel = f"oneDNN {library[1]} {onednn[1]}" if onednn and library else about["blas"]
        return about["version"], kernel

    def command(self, dtype, weights):
        self.instructions = self.kernels[dtype]
        return [*self.python, PEERS / "torch_moe.py", dtype, weights, self.threads]


class TorchModule(Torch):
    """PyTorch with moehill.torch in its loop's place."""

    def __init__(self, moehill, threads, python):
        super().__init__(moehill, threads, python)
        self.name += " + moehill.torch"

    def command(self, dtype, weights):
        library = Path(self.moehill.binary).resolve().parent / "libmoehill.so.0"
        paths = f"PYTHONPATH={PEERS.parent / 'python'}", f"MOEHILL_LIBRARY={library}"
        return ["env", *paths, *super().command(dtype, weights), "--module"]


class Ggml(StepPeer):
    name = "ggml"

    def __init__(self, moehill, threads, folder, build):
        super().__init__(moehill, threads)
        if not (Path(folder) / "include" / "ggml.h").is_file():
            raise Missing(f"ggml: {folder} has no include/ggml.h: --ggml takes a checkout of ggml, or the ggml folder of one "
                          "of llama.cpp")
        for step in (["cmake", "-S", PEERS / "ggml", "-B", build, "-DCMAKE_BUILD_TYPE=Release",
                      f"-DGGML_DIR={Path(folder).resolve()}"], ["cmake", "--build", build, "--target", "ggml_moe", "-j"]):
            done = subprocess.run(list(map(str, step)), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                raise Missing(f"ggml: {shlex.join(map(str, step))} failed:\n{done.stdout[-3000:]}")
        self.binary = build / "ggml_moe"

    def command(self, dtype, weights):
        return [self.binary, weights, self.threads]

    def what(self, case):
        what = super().what(case)
        self.version, self.instructions = (self.worker.about[key] for key in ("version", "instructions"))
        return what


class ProductPeer:
    """A library that multiplies in three directions, with a worker for each problem."""

    def __init__(self, name, command, threads):
        self.name, self.command, self.threads = name, command, threads
        self.worker, self.case = None, None

    def start(self, case):
        if self.case == case:
            return
        self.stop()
        self.worker, self.case = Worker(self.command(case), self.threads), case
        self.version, self.instructions = (self.worker.about[key] for key in ("version", "instructions"))

    def check(self, case):
        self.start(case)
        return {d: max(self.worker.check(d).values()) for d in DIRECTIONS}

    def measure(self, case):
        self.start(case)
        return {f"{case.name}/{d}": (self.worker.seconds(d, case.steps), case.flops) for d in DIRECTIONS}

    def stop(self):
        if self.worker:
            self.worker.stop()
        self.worker = self.case = None
