#!/usr/bin/env python3
"""Tests of ./compare: its arithmetic, what it refuses, and whole runs beside a made-up peer.

    compare_test.py MOEHILL
"""
import json
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import operands
import samples

PEERS = Path(__file__).resolve().parent
MOEHILL = ""

# A Python with a PyTorch that says what the test wants: DEVIATION in y, 1 ms a step, or the end of the process where a step is timed.
FAKE = """
import json, sys
if "--describe" in sys.argv:
    print(json.dumps({"version": "9.8.7", "blas": "none"}))
    sys.exit()
print(json.dumps({}), flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "check":
        print(json.dumps({"deviation": {"y": DEVIATION}}), flush=True)
    elif DIES:
        sys.exit(1)
    else:
        print(json.dumps({"seconds": [1e-3] * int(words[2])}), flush=True)
"""


def sample(contender, seconds, round_number, run="a", case="c", **more):
    return {"run": run, "round": round_number, "case": case, "contender": contender, "seconds": seconds, "flops": 1e9,
            "deviation": {"y": 1e-3}, "version": "1", "instructions": "none", "cpu": "a CPU", "threads": 2, **more}


class Arithmetic(unittest.TestCase):
    def test_each_contender_is_first_in_its_turn_and_none_is_left_out(self):
        orders = [samples.turn(["a", "b", "c"], i) for i in range(4)]
        self.assertEqual([order[0] for order in orders], ["a", "b", "c", "a"])
        for order in orders:
            self.assertEqual(sorted(order), ["a", "b", "c"])

    def test_interval_is_that_of_order_statistics(self):
        self.assertIsNone(samples.interval([1, 2]))
        self.assertEqual(samples.interval([3, 1, 2]), (1, 3, 0.75))
        self.assertEqual(samples.interval([5, 1, 4, 2, 3, 6]), (1, 6, 1 - 2 / 64))
        self.assertEqual(samples.interval(range(9)), (1, 7, 1 - 20 / 512))  # without the outermost, still 95 %

    def test_ratio_pairs_rounds_so_that_a_drift_of_both_cancels(self):
        ours = [sample("moehill", s, i) for i, s in enumerate((1, 2, 4))]
        theirs = [sample("p", s, i) for i, s in enumerate((2, 4, 8))]
        self.assertEqual(samples.ratios(theirs, ours), [2, 2, 2])

    def test_ratio_leaves_out_rounds_that_one_side_lacks(self):
        ours = [sample("moehill", 1, 0), sample("moehill", 1, 0, run="b")]
        self.assertEqual(samples.ratios([sample("p", 3, 0, run="b"), sample("p", 9, 1)], ours), [3])

    def test_a_round_with_two_samples_is_refused(self):
        with self.assertRaises(ValueError):
            samples.by_round([sample("p", 1, 0), sample("p", 2, 0)])

    def test_who_is_faster_needs_an_interval_beside_1(self):
        self.assertEqual(samples.faster([1.1, 1.2, 1.3], "p"), "moehill")
        self.assertEqual(samples.faster([0.7, 0.8, 0.9], "p"), "p")
        self.assertEqual(samples.faster([0.9, 1.2, 1.3], "p"), "neither")
        self.assertEqual(samples.faster([2.0, 2.0], "p"), "cannot tell")

    def test_table_says_where_a_peer_wins_and_where_none_can_be_told(self):
        taken = [sample(name, s, i, case="k/t/c") for name, s in (("moehill", 0.010), ("fast", 0.005), ("slow", 0.020))
                 for i in range(3)]
        self.assertEqual(samples.table(taken).splitlines()[2],
                         "| c | 3 | 10.00 [10.00, 10.00] | 100.0 | 5.00 [5.00, 5.00], 0.50 [0.50, 0.50] "
                         "| 20.0 [20.0, 20.0], 2.00 [2.00, 2.00] | **fast** | 1.0e-03 (slow, y) |")
        self.assertEqual(samples.fastest({"slow": [2, 2, 2]}), "moehill")
        self.assertEqual(samples.fastest({"slow": [2, 2, 2], "same": [0.9, 1, 1.1]}), "moehill or same")
        self.assertEqual(samples.fastest({"slow": [2, 2, 2], "few": [2, 2]}), "cannot tell")

    def test_cases_of_other_peers_stand_in_tables_of_their_own(self):
        taken = [sample(name, 1, 0, case=case) for case in ("a/x/1", "b/x/1") for name in ("moehill", "only " + case[0])]
        first, second = samples.table(taken).split("\n\n")
        self.assertIn("only a", first)
        self.assertNotIn("only b", first)
        self.assertIn("only b", second)

    def test_table_quotes_the_largest_deviation_of_a_peer(self):
        taken = {"p": [sample("p", 1, 0), sample("p", 1, 1, deviation={"y": 1e-4, "dx": 2e-2})],
                 "moehill": [sample("moehill", 1, 0, deviation={"y": 0.5})]}
        self.assertEqual(samples.deviation(taken), "2.0e-02 (p, dx)")


def write_npy(path, shape, code, values):
    with open(path, "wb") as file:
        operands.write_header(file, shape)
        file.write(struct.pack(f"<{len(values)}{code}", *values))


class Operands(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def test_kept_entries_are_those_that_were_asked_for(self):
        path = self.root / "a.npy"
        write_npy(path, (3, 2, 1), "f", range(6))
        operands.keep_first(path, [2, 0])
        with open(path, "rb") as file:
            self.assertEqual(operands.read_header(file), ((2, 2, 1), 4))
            self.assertEqual(file.tell() % 64, 0)
            self.assertEqual(struct.unpack("<4f", file.read()), (4, 5, 0, 1))

    def test_busiest_experts_come_first(self):
        write_npy(self.root / "i.npy", (3, 2), "i", [4, 1, 1, 7, 1, 7])
        self.assertEqual(operands.busiest(self.root / "i.npy", 2), [1, 7])

    def test_operands_are_made_once_and_weights_once_for_all_cases(self):
        made = []

        def dump(folder):
            made.append(folder)
            write_npy(folder / "topk_idx.npy", (2, 1), "i", [0, 1])
            for name in ("w1", "x", "dw1", "dw2", "dw3"):
                write_npy(folder / f"{name}.npy", (3, 1), "f", [1, 2, 3])

        for tokens in (5, 5, 6):
            case = SimpleNamespace(shape=(1, 2, 3, 4), dtype="f32", tokens=tokens, topk=2)
            weights, kept = operands.prepare(self.root, case, dump)
        self.assertEqual(len(made), 2)
        self.assertEqual(sorted(p.name for p in weights.parent.iterdir()), ["5-top2", "6-top2", "weights"])
        self.assertEqual([p.name for p in weights.iterdir()], ["w1.npy"])
        self.assertEqual(sorted(p.name for p in kept.iterdir()),
                         ["dw1.npy", "dw2.npy", "dw3.npy", "experts.json", "topk_idx.npy", "x.npy"])


class Command(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def compare(self, *arguments):
        return subprocess.run([sys.executable, PEERS / "compare", "--moehill", MOEHILL, "--operands", self.root / "operands",
                               *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def refused(self, words, *arguments):
        done = self.compare(*arguments)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(list(self.root.glob("operands*")), [])

    def small(self, deviation, dies, *more):
        (self.root / "fake.py").write_text(FAKE.replace("DEVIATION", str(deviation)).replace("DIES", str(dies)))
        return self.compare("--shape", "24,16,4,8", "--tokens", 5, "--only", "step/f32/forward_backward/*", "--torch",
                            f"{sys.executable} {self.root / 'fake.py'}", "--json", self.root / "s.jsonl", *more)

    def test_the_module_in_the_loops_place_computes_the_same(self):
        there = subprocess.run(["/usr/bin/python3", "-c", "import torch, numpy"], capture_output=True, check=False).returncode == 0
        if not there or not (Path(MOEHILL).parent / "libmoehill.so.0").exists():
            self.skipTest("needs Debian's python3-torch and the shared library")
        done = self.compare("--shape", "24,16,4,8", "--tokens", 5, "--only", "step/*", "--module", "--rounds", 0)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("+ moehill.torch: y"), 4, done.stdout)
        self.assertEqual(done.stdout.count("ds1"), 3 * 2, done.stdout)  # of all three, in two cases with a backward

    def test_a_missing_peer_is_named_with_its_remedy(self):
        self.refused("apt-get install python3-torch", "--only", "step/bf16/forward/1/top2", "--torch", "/no/python")
        self.refused("no include/ggml.h", "--only", "step/bf16/forward/1/top2", "--peers", "onednn", "--ggml", self.root)
        self.refused("./run build", "--moehill", self.root / "none")

    def test_bad_usage_is_refused(self):
        self.refused("names no case", "--only", "step/f16/*")
        self.refused("got mkl", "--peers", "mkl")
        self.refused("--rounds", "--rounds", -1)
        self.refused("--shape", "--shape", "1,2,3")
        self.refused("--tokens", "--tokens", "8,zero")
        self.refused("none.jsonl", "--table", self.root / "none.jsonl")

    def test_a_file_that_holds_no_samples_is_refused_by_its_line(self):
        (self.root / "s.jsonl").write_text(json.dumps(sample("p", 1, 0)) + '\n{"run": 1}\n')
        self.refused("s.jsonl:2: not a sample", "--table", self.root / "s.jsonl")

    def test_rounds_give_samples_and_a_table_and_the_file_the_same_table(self):
        done = self.small(1e-6, False, "--rounds", 3)
        self.assertEqual(done.returncode, 0, done.stderr)
        taken = samples.read(self.root / "s.jsonl")
        first = [s["contender"] for s in taken if s["case"].endswith("top2")][:4]
        self.assertEqual(first, ["moehill", "PyTorch 9.8", "PyTorch 9.8", "moehill"])
        self.assertEqual({s["flops"] for s in taken}, {18 * 5 * 24 * (k * 16 + 8) for k in (2,)})
        self.assertIn("| forward_backward/5/top2 | 3 |", done.stdout)
        self.assertIn("9.8.7", done.stdout)
        self.assertEqual(self.compare("--table", self.root / "s.jsonl").stdout, done.stdout)

    def test_a_peer_that_computes_something_else_is_not_timed(self):
        for deviation in (0.1, "float('nan')"):
            done = self.small(deviation, False, "--rounds", 3)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("deviates", done.stderr)
            self.assertFalse((self.root / "s.jsonl").exists())

    def test_a_peer_that_ends_is_a_failure(self):
        done = self.small(1e-6, True, "--rounds", 1)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("fake.py", done.stderr)

    def test_without_rounds_the_results_are_checked_and_nothing_is_timed(self):
        done = self.small(1e-6, False, "--rounds", 0)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("PyTorch 9.8: y 1.0e-06", done.stdout)
        self.assertIn("moehill: y", done.stdout)
        self.assertFalse((self.root / "s.jsonl").exists())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: compare_test.py MOEHILL")
    MOEHILL = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
