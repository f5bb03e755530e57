#!/usr/bin/env python3
"""Draws the breaks that tools/mutants tries, and says which tests an area has. Run by itself it prints 160, to be read.

usage: breaks.py [SEED]
"""
import collections
import glob
import hashlib
import os
import pathlib
import re
import sys


def tests(program, suites="*"):
    return program, f"build/release/{program} --gtest_filter={suites}"


CHECK = ("moehill", "build/release/moehill check --quick")
MPI_CHECK = ("moehill", "ctest --preset release -R ^check.mpi_[23]$")
LIES = ("moehill_lies moehill", "ctest --preset release -R ^lies.kit$")
RUNS = [tests("api_run_test"), tests("api_test", "RandomRuns*")]
# area: share of all breaks, sources, what is built and run when the room's own tests pass
AREAS = {
    "plans": (0.2, "routing/plan.cc routing/plan_builder.cc routing/capacity*.cc routing/router.cc routing/route_tokens.cc "
              "routing/placement.cc model/plan_counts.cc", [*RUNS, tests("api_test", "CapacityTest*"), tests("api_header_test", "*Router*"), CHECK]),
    "exchange": (0.22, "parallel/sharded_path.cc parallel/psum_path.cc parallel/row_route.cc parallel/data_parallel_path.cc parallel/latent_path.cc "
                 "mesh/group.cc mesh/threads/*.cc mesh/mpi/messages.cc mesh/mpi/mpi_group.cc mesh/mpi/exchange_windows.cc",
                 [*RUNS, tests("api_header_test", "Exchange*:*EveryLayout*"), tests("api_test", "*Traffic*:CapacityTest*:LatentRunTest*"), CHECK, MPI_CHECK,
                  ("mesh_mpi_conformance_test", "ctest --preset release -R ^mesh.mpi_conformance_[234]$")]),
    "kernels": (0.15, "kernels/gmm*.h kernels/gmm.cc kernels/rows.cc kernels/row_vectors.cc kernels/gemm_units.cc kernels/block_sizes.cc "
                "kernels/activation-inl.h", [tests("moe_test"), CHECK]),
    "statistics": (0.15, "bench/statistics.cc bench/comparison.cc bench/schedule.cc quiet/disturbance.cc quiet/core_watch.cc quiet/yardstick.cc",
                   [tests("measure_test"), tests("report_test")]),
    "resume": (0.12, "store/store.cc store/journal.cc store/schema.cc experiments/driver.cc experiments/plan.cc experiments/matrix.cc",
               [tests("cli_test", "*Sweep*"), ("moehill", "ctest --preset release -R ^cli.sweep_launcher$"),
                ("moehill", "tests/faults/run build/release/moehill --only kill_the_driver")]),
    "check": (0.16, "moe/check.cc moe/check_share.cc moe/check_selection.cc moe/row_comparison.cc moe/audit*.cc moe/router_check.cc moe/oracle.cc",
              [*RUNS, tests("api_test", "LatentRunTest*:BalanceLossRunTest*"), CHECK, LIES]),
}
ROOMS = sorted({pattern.split("/")[0] for _, patterns, _ in AREAS.values() for pattern in patterns.split()})
SWAPS = [(" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > "), (" == ", " != "), (" != ", " == "), (" && ", " || "), (" || ", " && "),
         (" + 1", ""), (" - 1", ""), (" + ", " - "), (" - ", " + "), (" * ", " / "), (" / ", " * "), (" += ", " -= "), (" -= ", " += "), ("std::min", "std::max"),
         ("std::max", "std::min"), ("true", "false"), ("false", "true"), ("(!", "("), (" = 0;", " = 1;"), (" = 1;", " = 0;"), ("[0]", "[1]")]
NO_CODE = re.compile(r"^\s*(//|#|\*)|using |^\S|MOEHILL_|HWY_|template|constexpr bool k")
# Statements that change a message, refuse what cannot be, or change the speed alone: what is computed stays, so no test
# of values can see a break in one of their lines.
NO_EFFECT = re.compile(r'"|MOEHILL_CHECK|require|refuse|check_failed|fmt::|throw|assert|printf|reserve\(|shrink_to_fit|prefetch|pause\(|yield|sleep|[Ss]pin|[Aa]head|Fetch'
                       r'|kFewAssignments|bool few =|\bask(?:_rows)?\(|auto\* next =|kStreamedEpilogues|messages_->advance|int (?:arrived|done|bytes|rank) = 0;')
# Comparisons of what is never equal: the numbers of two things, and what the line has found to differ.
NEVER_EQUAL = re.compile(r"[ :]a < b;|if \((.*) != (.*)\) return \1 < \2;")
# The first line of a function that only says what to prefetch; the groups are its indentation and what follows the name.
ONLY_SPEED = re.compile(r"( *)(?:HWY_INLINE )?(?:void|Ahead|BlockPlace|size_t|double) (?:prefetch\w*|\w*ahead|next_block|quickest_piece_bytes|seconds_of_exchanges)\((.*)")


def breaks_of(path):
    """Yields (line number, old line, new line)."""
    lines = pathlib.Path(path).read_text().split("\n")
    has_effect = ended = True
    skips_to = None  # the line that ends a function that changes the speed alone
    for i, line in enumerate(lines):
        code = line.split("//")[0].rstrip()
        if skips_to is None and (function := ONLY_SPEED.fullmatch(code)) and not function[2].endswith(("}", ";")):
            skips_to = function[1] + "}"
        if skips_to is not None:
            skips_to = None if code == skips_to else skips_to
            continue
        if not code:
            continue
        has_effect = (has_effect or ended) and not NO_EFFECT.search(code)
        ended = code[-1] in ";{}"
        if not has_effect or NO_CODE.search(code):
            continue
        for old, new in SWAPS:
            if old == " < " and NEVER_EQUAL.search(code):
                continue
            if old in code and not re.search(re.escape(old) + r"(?<=\d)[\w.]", code):  # " + 1" is no part of " + 16"
                yield i, line, line.replace(old, new, 1)
        # Leaves out a call or an assignment.
        if re.match(r"^\s+[a-z_][\w.\->\[\]]*(\(.*\)| [-+*/|]?= .*);$", code) and "return" not in code and lines[i - 1][-1:] in [*";{}"]:
            yield i, line, re.match(r"^\s*", line)[0] + ";"


def choose(source, area, number, seed):
    """Draws breaks: every file about as often as its share of the area's breaks, no line twice. Where the source changes, only
    the breaks of the lines that change do, so that the draw of a seed stays."""
    rooms, times, found = os.path.join(source, "moehill"), collections.Counter(), []
    for pattern in AREAS[area][1].split():
        for path in sorted(glob.glob(os.path.join(rooms, pattern))):
            for line, old, new in breaks_of(path) if not path.endswith("_test.cc") else ():
                name = f"{area} {seed} {os.path.relpath(path, rooms)} {old.strip()} {new.strip()}"
                times[name] += 1  # a line may be in a file several times
                found.append((hashlib.sha256(f"{name} {times[name]}".encode()).digest(), os.path.relpath(path, rooms), line, old, new))
    seen, chosen = set(), []
    for _, path, line, old, new in sorted(found):
        if (path, line) not in seen:
            seen.add((path, line))
            chosen.append({"area": area, "file": path, "line": line + 1, "old": old.strip(), "new": new.strip(), "text": new})
    return chosen[: round(number * 2)]  # some do not count


if __name__ == "__main__":
    for name, (share, _, _) in AREAS.items():
        for m in choose(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), name, 80 * share, sys.argv[1] if len(sys.argv) > 1 else 1):
            print(f"{name}: {m['file']}:{m['line']}: {m['old']}  ->  {m['new'] or ';'}")
