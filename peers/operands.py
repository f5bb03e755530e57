"""This module keeps the operands that all contenders share: the part of a checked step's dump that the peers need.

    ROOT/<hidden>-<mlp>-<experts>-<shared>/<dtype>/weights/               w1 w2 w3 s1 s2 s3
    ROOT/<hidden>-<mlp>-<experts>-<shared>/<dtype>/<tokens>-top<k>/       x topk_idx topk_weights, and the results to compare with:
                                            y dx dp ds1 ds2 ds3, and dw1 dw2 dw3 of the experts in experts.json

The weights of a seed do not depend on the tokens, so they are kept once. Weight gradients are kept only for the two
experts with the most rows.
"""
import array
import ast
import collections
import json
import os
import tempfile
from pathlib import Path

WEIGHTS = ("w1", "w2", "w3", "s1", "s2", "s3")
GRADIENTS = ("dw1", "dw2", "dw3")


def read_header(file):
    """Returns (shape, bytes of a value) of a C-order .npy file, and leaves the file at its first value."""
    if file.read(6) != b"\x93NUMPY":
        raise ValueError(f"{file.name} is no .npy file")
    file.read(2)
    header = ast.literal_eval(file.read(int.from_bytes(file.read(2), "little")).decode())
    return header["shape"], int(header["descr"][-1])


def write_header(file, shape):
    """Writes the header of a version 1.0 file of float32."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())


def keep_first(path, indices):
    """Removes from a float32 file all but these entries of its first dimension."""
    kept = path.with_suffix(".kept")
    with open(path, "rb") as source, open(kept, "wb") as target:
        shape, size = read_header(source)
        begin = source.tell()
        entry = size
        for extent in shape[1:]:
            entry *= extent
        write_header(target, (len(indices), *shape[1:]))
        for index in indices:
            source.seek(begin + index * entry)
            target.write(source.read(entry))
    kept.replace(path)


def busiest(path, count):
    """Returns the experts with the most rows in a file of int32."""
    with open(path, "rb") as file:
        read_header(file)
        chosen = array.array("i", file.read())
    return [expert for expert, _ in collections.Counter(chosen).most_common(count)]


def prepare(root, case, dump):
    """Returns the folders (weights, case). If they are not there yet, dump(folder) makes their files."""
    base = Path(root).resolve() / "-".join(map(str, case.shape)) / case.dtype
    weights, kept = base / "weights", base / f"{case.tokens}-top{case.topk}"
    if weights.exists() and kept.exists():
        return weights, kept
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as temporary:
        fresh = Path(temporary)
        (fresh / "weights").mkdir()
        (fresh / "case").mkdir()
        dump(fresh / "case")
        for name in WEIGHTS:
            file = fresh / "case" / f"{name}.npy"
            if file.exists():
                file.replace(fresh / "weights" / file.name)
        experts = busiest(fresh / "case" / "topk_idx.npy", 2)
        (fresh / "case" / "experts.json").write_text(json.dumps(experts))
        for name in GRADIENTS:
            keep_first(fresh / "case" / f"{name}.npy", experts)
        for old, new in ((weights, "weights"), (kept, "case")):
            if not old.exists():
                os.rename(fresh / new, old)
    return weights, kept
