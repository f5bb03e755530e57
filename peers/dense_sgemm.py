#!/usr/bin/python3
"""A dense f32 product [rows, depth] x [depth, columns] by one of three libraries.

A worker of ./compare.
"""
import argparse
import ctypes
import sys

import numpy

from worker import serve

LIBRARIES = {
    "openblas": "/usr/lib/x86_64-linux-gnu/openblas-openmp/libblas.so.3",
    "blis": "/usr/lib/x86_64-linux-gnu/blis-openmp/libblas.so.3",
    "onednn": "libdnnl.so.2",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=LIBRARIES)
    for name in ("rows", "depth", "columns"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    m, n, k = options.rows, options.columns, options.depth
    library = ctypes.CDLL(LIBRARIES[options.library])
    random = numpy.random.default_rng(0)
    a = random.standard_normal((m, k), dtype=numpy.float32)
    b = random.standard_normal((k, n), dtype=numpy.float32)
    c = numpy.zeros((m, n), dtype=numpy.float32)
    pa, pb, pc = (x.ctypes.data_as(ctypes.c_void_p) for x in (a, b, c))
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    if options.library == "onednn":
        size = ctypes.c_int64

        def product():
            no = ctypes.c_char(b"N")
            status = library.dnnl_sgemm(no, no, size(m), size(n), size(k), one, pa, size(k), pb, size(n), zero, pc,
                                        size(n))
            if status:
                sys.exit(f"dnnl_sgemm: status {status}")
    else:
        def product():
            library.cblas_sgemm(101, 111, 111, m, n, k, one, pa, k, pb, n, zero, pc, n)

    product()
    if not numpy.allclose(c[0], a[0] @ b, atol=1e-2):
        sys.exit(f"{options.library}: wrong product")
    serve(product)


main()
