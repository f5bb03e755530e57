"""This module is the worker's side of ./compare, for workers in Python. A worker first says what it is, in a line of JSON. Then it
answers each line on standard input with a line of JSON:

    check WHAT     runs WHAT once; {"deviation": {tensor: largest relative error}}
    time WHAT N    runs it N times, each with cold caches as moehill's steps; {"seconds": [...]}
"""
import json
import os
import sys
import time

import numpy


def row_error(result, reference):
    """Returns the largest over the rows of |row - reference| / max(|reference|, its median over the rows)."""
    reference = numpy.asarray(reference, dtype=numpy.float64).reshape(-1, reference.shape[-1])
    difference = numpy.linalg.norm(numpy.asarray(result, dtype=numpy.float64).reshape(reference.shape) - reference, axis=1)
    norm = numpy.linalg.norm(reference, axis=1)
    scale = numpy.maximum(norm, numpy.median(norm))
    return float(numpy.max(difference / scale))


class ColdCaches:
    """Memory whose reading leaves nothing older in the caches; ./compare says how much that is."""

    def __init__(self):
        self.memory = numpy.ones(int(os.environ["COLD_BYTES"]) // 8)

    def __call__(self):
        self.memory.sum()


def serve(check, step, **about):
    """Answers requests until the input ends. check(what) returns deviations, and step(what) runs a step."""
    def answer(**values):
        print(json.dumps(values), flush=True)

    cold = ColdCaches()
    answer(**about)
    for line in sys.stdin:
        command, what, *count = line.split()
        if command == "check":
            answer(deviation=check(what))
            continue
        seconds = []
        for _ in range(int(count[0])):
            cold()
            begin = time.perf_counter()
            step(what)
            seconds.append(time.perf_counter() - begin)
        answer(seconds=seconds)
