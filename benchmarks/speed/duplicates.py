"""How fast is the search for near-duplicates beside BLAS and FAISS?

Question: 1,000 queries against references of width 2048: queries per second of
`find`, checks of its input and exact float64 decision included, beside the
bare float32 product of the same matrices (the machine's limit) and FAISS's
flat index (`pip install faiss-cpu`; left out where it is not installed). And:
is the cost linear in references, over three decades?

Command:

    python benchmarks/speed/duplicates.py

Embeddings are random with a few strong directions (rank 128). All methods run
in turn in one process; ratios are medians over the rounds. Rows go to
benchmarks/results/search.jsonl.

Result (2 cores of an AMD EPYC without AMX, 24 GB, NumPy 2.4.6 with OpenBLAS; 3
rounds; seconds, and times the rate of the bare product):

    width 2048, references    1,000      10,000     100,000
    bare float32 product      0.027 s    0.229 s    2.13 s
    float32                   0.85x      0.93x      0.93x
    bfloat16 shortlist        0.46x      0.90x      1.38x
    FAISS flat                0.67x      1.11x      0.96x

    width 256, references     10,000     100,000    1,000,000
    bare float32 product      0.033 s    0.270 s    2.73 s
    float32                   0.61x      0.70x      0.81x
    bfloat16 shortlist        0.33x      0.67x      0.83x
    FAISS flat                1.02x      0.93x      0.90x

At width 2048 the exact search runs at 93% of the machine's rate, as FAISS does
here: where FAISS's BLAS is good, nothing is to be gained over it. The shortlist
pays where the CPU multiplies bfloat16 by instructions of its own; this one
gains 1.4x. The cost is linear in references: ten times as many take 9.2 to 9.4
times as long at both ends.
"""

import argparse
import pathlib
import time

import kept_memory

kept_memory.restart()

import numpy as np

from keras_jft.evaluation.duplicates import find
from keras_jft.scaling.rows import rows

try:
    import faiss
except ImportError:
    faiss = None

RESULTS = pathlib.Path(__file__).parent.parent / "results"


def embeddings(rng, count, width, rank=128):
    """Return random rows of unit length."""
    basis = np.random.default_rng(7).normal(size=(rank, width))
    x = rng.standard_normal((count, rank), "f4") @ basis.astype("f4")
    noise = rng.standard_normal((count, width), "f4")
    noise *= np.float32(0.1 * rank**0.5)
    x += noise
    x /= np.sqrt(np.vecdot(x, x))[:, None]
    return x


def product(queries, references, block=4096):
    """Compute the bare float32 product, block by block, in one buffer."""
    out = np.empty((block, len(queries)), "f4")
    for start in range(0, len(references), block):
        part = references[start : start + block]
        np.matmul(part, queries.T, out=out[: len(part)])


def flat(queries, references):
    """Search exactly with FAISS, including building, which copies the data."""
    index = faiss.IndexFlatIP(queries.shape[1])
    index.add(references)
    return index.search(queries, 1)


def measure(num_queries, num_references, width, rounds):
    """Return the rows of all methods at one size."""
    rng = np.random.default_rng(0)
    queries = embeddings(rng, num_queries, width)
    references = embeddings(rng, num_references, width)
    methods = {
        "sgemm": lambda: product(queries, references),
        "float32": lambda: find(queries, references),
        "bfloat16": lambda: find(queries, references, method="bfloat16"),
    }
    if faiss is not None:
        methods["faiss flat"] = lambda: flat(queries, references)
    times = {name: [] for name in methods}
    for i in range(rounds + 1):
        for name, method in methods.items():
            began = time.perf_counter()
            found = method()
            if i:  # The first warms up, and is compared.
                times[name].append(time.perf_counter() - began)
            elif name == "float32":
                best = found.best
            elif name == "bfloat16":
                np.testing.assert_array_equal(found.best, best)
            elif name == "faiss flat":
                np.testing.assert_array_equal(found[1][:, 0], best)
    flops = 2 * num_queries * num_references * width
    for name, taken in times.items():
        seconds = float(np.median(taken))
        yield {
            "method": name,
            "queries": num_queries,
            "references": num_references,
            "width": width,
            "seconds": round(seconds, 4),
            "gflops": round(flops / seconds / 1e9, 1),
            "of_sgemm": _ratio(times["sgemm"], taken),
            "of_faiss_flat": _ratio(times["faiss flat"], taken)
            if faiss
            else None,
            "rounds": rounds,
        }


def _ratio(peer, taken):
    return round(float(np.median(np.array(peer) / np.array(taken))), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument(
        "--references",
        type=int,
        nargs="+",
        default=(100, 1_000, 10_000, 100_000),
    )
    parser.add_argument("--width", type=int, default=2_048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.queries, arguments.references = 8, (40,)
        arguments.width, arguments.rounds = 64, 1
        installed = "is" if faiss else "is not"
        print(f"FAISS {installed} installed")
    for count in arguments.references:
        for row in measure(
            arguments.queries, count, arguments.width, arguments.rounds
        ):
            print(
                f"{row['method']:10s} {row['references']:7d} "
                f"{row['seconds']:9.4f} s {row['gflops']:7.1f} GFLOP/s "
                f"{row['of_sgemm']:5.2f} of sgemm, FAISS flat "
                f"{row['of_faiss_flat']}"
            )
            if not arguments.smoke:
                rows.append(
                    RESULTS / "search.jsonl", {**row, **rows.provenance()}
                )


if __name__ == "__main__":
    main()
