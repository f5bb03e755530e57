#!/usr/bin/python3
"""A worker of ./compare: dense f32 products by OpenBLAS or BLIS, y = x W, dx = dy W^T and dW = x^T dy.

WHAT is forward, input_grad or weight_grad.
"""
import argparse
import ctypes

import numpy

from worker import row_error, serve

LIBRARIES = {
    "openblas": "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0",
    "blis": "/usr/lib/x86_64-linux-gnu/blis-openmp/libblis.so.4",
}
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112


def describe(library, name):
    """Returns (version, kernels)."""
    if name == "openblas":
        library.openblas_get_config.restype = library.openblas_get_corename.restype = ctypes.c_char_p
        return library.openblas_get_config().decode(), library.openblas_get_corename().decode()
    library.bli_info_get_version_str.restype = library.bli_arch_string.restype = ctypes.c_char_p
    return f"BLIS {library.bli_info_get_version_str().decode()}", library.bli_arch_string(library.bli_arch_query_id()).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=LIBRARIES)
    for name in ("rows", "depth", "columns"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    rows, depth, columns = options.rows, options.depth, options.columns
    library = ctypes.CDLL(LIBRARIES[options.library])
    random = numpy.random.default_rng(0)
    x = random.standard_normal((rows, depth), dtype=numpy.float32)
    w = random.standard_normal((depth, columns), dtype=numpy.float32)
    dy = random.standard_normal((rows, columns), dtype=numpy.float32)
    # a, its form, b, its form, and what their product goes to
    products = {
        "forward": (x, PLAIN, w, PLAIN, numpy.zeros((rows, columns), numpy.float32)),
        "input_grad": (dy, PLAIN, w, TRANSPOSED, numpy.zeros((rows, depth), numpy.float32)),
        "weight_grad": (x, TRANSPOSED, dy, PLAIN, numpy.zeros((depth, columns), numpy.float32)),
    }

    def step(what):
        a, form_a, b, form_b, c = products[what]
        inner = a.shape[form_a == PLAIN]
        pa, pb, pc = (matrix.ctypes.data_as(ctypes.c_void_p) for matrix in (a, b, c))
        library.cblas_sgemm(ROW_MAJOR, form_a, form_b, *c.shape, inner, ctypes.c_float(1), pa, a.shape[1], pb, b.shape[1],
                            ctypes.c_float(0), pc, c.shape[1])

    def check(what):
        """Compares eight or nine rows, evenly spread, with the product in float64."""
        step(what)
        a, form_a, b, form_b, c = products[what]
        some = slice(0, None, -(-len(c) // 8))
        left, right = (a.T if form_a == TRANSPOSED else a), (b.T if form_b == TRANSPOSED else b)
        return {"product": row_error(c[some], left[some].astype(numpy.float64) @ right.astype(numpy.float64))}

    version, instructions = describe(library, options.library)
    serve(check, step, version=version, instructions=instructions)


main()
