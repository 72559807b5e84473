"""What does asynchrony cost? Loss against the staleness of gradients.

Question: Sun et al. 2017 trained with 50 asynchronous workers, each of which
fetches and pushes at every step. With the same number of gradients, how does
the loss grow with the staleness of the gradients, for SGD with and without
momentum and for the paper's RMSProp? What if clients fetch and push less often?

Command:

    KERAS_BACKEND=numpy python benchmarks/downpour.py

Softmax regression on the synthetic classification task (8x8 averaged pixels),
with 500 gradients of 32 images per run, simulated by
`benchmarks/asynchronous_sgd.py`. Rows go to benchmarks/results/downpour.jsonl,
the figure to benchmarks/figures/downpour.png.

Result, mean over seeds 0 to 2: without staleness the loss is 2.40 (SGD), 2.40
(momentum) and 2.41 (RMSProp). Up to 4 clients it is within 0.02 of that; with
8 it is 2.42, 2.54 and 2.54, with 16 2.99, 3.70 and 3.69, with 50 9.5 to 11.0,
far above where training began. Eight clients that send every second step reach
2.76, 3.75 and 3.65: this costs more than doubling the number of clients.
This holds for these learning rates, and within the first 500 gradients: a lower
rate tolerates more staleness. It takes 20 s of CPU time on two cores.
"""

import argparse
import pathlib
import tempfile

import keras
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from asynchronous_sgd import simulate

import keras_jft as jft
from keras_jft.scaling.rows import rows

HERE = pathlib.Path(__file__).parent
BATCH = 32
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "SGD, momentum 0.9": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "RMSProp of the paper": lambda: jft.training.TF1RMSprop(
        0.01, rho=0.9, momentum=0.9, epsilon=1.0
    ),
}
CLIENTS = (1, 2, 4, 8, 16, 32, 50)
INTERVALS = (1, 2, 4, 8, 16)  # steps between two fetches, and two pushes


def features(num_examples):
    """Return `(N, 193)` averaged pixels with a constant 1, `(N,)` labels."""
    data = jft.data.load(
        "synthetic", task="classification", num_examples=num_examples
    )
    batches = list(jft.data.iterate(data, batch_size=num_examples))
    images = batches[0]["images"].astype("float32") / 127.5 - 1
    blocks = images.reshape(len(images), 8, 4, 8, 4, 3).mean(axis=(2, 4))
    x = blocks.reshape(len(images), -1)
    ones = np.ones((len(x), 1), "float32")
    return np.concatenate([x, ones], axis=1), batches[0]["labels"]


def gradient(parameters, batch):
    """Return the cross entropy of softmax regression and its gradient."""
    (weights,), (x, labels) = parameters, batch
    logits = x @ weights
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    rows_ = np.arange(len(x))
    loss = -np.log(chances[rows_, labels] + 1e-12).mean()
    chances[rows_, labels] -= 1
    return loss, [x.T @ chances / len(x)]


def run(x, labels, steps, optimizer, seed, clients=1, every=1):
    """Return a row with the loss over all images after `steps` gradients."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(x), (steps, BATCH))
    trace = simulate(
        gradient,
        [np.zeros((x.shape[1], labels.max() + 1), "float32")],
        [(x[i], labels[i]) for i in drawn],
        OPTIMIZERS[optimizer](),
        clients=clients,
        n_fetch=every,
        n_push=every,
        speed_spread=0.3,
        seed=seed,
    )
    loss, _ = gradient(trace.parameters, (x, labels))
    return {
        "optimizer": optimizer,
        "clients": clients,
        "every": every,
        "seed": seed,
        "steps": steps,
        "staleness": round(float(trace.staleness.mean()), 2),
        "loss": round(float(loss), 4),
        "seconds": round(trace.seconds, 1),
    }


def plot(results):
    """Plot loss against staleness, and against steps between messages."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    seldom = max(row["clients"] for row in results if row["every"] > 1)
    for name in OPTIMIZERS:
        of_name = [row for row in results if row["optimizer"] == name]
        for axis, x, kept in (
            (axes[0], "staleness", lambda row: row["every"] == 1),
            (axes[1], "every", lambda row: row["clients"] == seldom),
        ):
            points = {}
            for row in filter(kept, of_name):
                key = row["clients"], row["every"]
                points.setdefault(key, []).append((row[x], row["loss"]))
            means = np.array([np.mean(p, axis=0) for p in points.values()])
            means = means[np.argsort(means[:, 0])]
            axis.plot(*means.T, marker="o", markersize=4, label=name)
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlabel("mean staleness, updates (1 to 50 clients)")
    axes[0].set_ylabel("loss after the same number of gradients")
    axes[1].set_xscale("log", base=2)
    axes[1].set_xlabel(f"steps between messages ({seldom} clients)")
    axes[1].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_yscale("log")
    figure.tight_layout()
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            study(64, 8, (0,), pathlib.Path(folder))
    else:
        study(2_000, arguments.steps, arguments.seeds, HERE)


def study(num_examples, steps, seeds, folder):
    x, labels = features(num_examples)
    results = []
    runs = [(clients, 1) for clients in CLIENTS]
    runs += [(8, every) for every in INTERVALS[1:]]
    for optimizer in OPTIMIZERS:
        for clients, every in runs:
            for seed in seeds:
                row = run(x, labels, steps, optimizer, seed, clients, every)
                rows.append(folder / "results" / "downpour.jsonl", row)
                results.append(row)
            print(*row.values(), sep="  ")
    (folder / "figures").mkdir(exist_ok=True)
    plot(results).savefig(folder / "figures" / "downpour.png", dpi=120)


if __name__ == "__main__":
    main()
