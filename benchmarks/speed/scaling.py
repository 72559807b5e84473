"""What do more processes cost, in time and in bytes on the wire?

Question: weak scaling from 1 to 4 workers of `multi_worker` and
`parameter_server`, on the same cores. Every worker has its own batch, so images
per second would stay the same if distribution were free. How many bytes does a
step put on the wire, against the fewest that it could? And what share of both
has the head of 18,291 labels?

Command:

    python benchmarks/speed/scaling.py

The net is that of the small studies (32 px, a batch of 32 per worker). Each
cluster runs in a network namespace of its own, whose loopback interface counts
the bytes of its tasks and of no others; where the system allows none, the
interface is shared, and the row says so. Processor seconds are those of the
tasks of a cluster. `--quiet` says that nothing else runs, so that speed is also
by the clock. All are of the last of three epochs, of 20 steps per worker.

The fewest bytes: with G bytes of gradients, a ring all-reduce of n workers
sends 2 (n - 1) / n G per worker and step; a parameter server sends G of weights
to a worker, and receives G of gradients. Rows go to
benchmarks/results/scaling.jsonl, and a run that has a row is left out.

Result: within 1% of the fewest bytes in a ring, within 5% with parameter
servers; the head of 18,291 labels is 88% of them, and bfloat16 halves them. The
rows, and what follows from them for larger clusters, are in docs/scale.md.
"""

import argparse
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import kept_memory

RESULTS = pathlib.Path(__file__).parent.parent / "results"
EPOCHS, SERVERS = 3, 2
LIMIT = 300  # Seconds of one cluster.
LABELS = (286, 18_291)  # Of the synthetic world, and of the paper.
SIDES = ("multi_worker", "parameter_server")
SAID = "measured: "
APART = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c")
WITH_LOOPBACK = 'ip link set lo up && exec "$0" "$@"'


# === In the process that trains ===


def measure(run):
    """Train, and print what the last epoch took."""
    import keras

    import keras_jft as jft
    from keras_jft.training.distribution import replicas

    gradients = None if run.wire == "float32" else run.wire
    strategy = jft.training.strategy(run.side, gradients=gradients)
    keras.utils.set_random_seed(run.seed)
    data = cached(run.steps * run.workers * run.batch, run.folder)
    # A step of parameter servers is one batch, on one worker.
    together = run.workers if run.side == "multi_worker" else 1
    batches = jft.data.batches(
        data, together * run.batch, training=True, seed=run.seed
    )
    with strategy.scope():
        backbone = jft.ResNet(
            (1, 1, 1, 1),
            width=16,
            block="basic",
            stem="small",
            bn_momentum=0.9,
            image_shape=(32, 32, 3),
        )
        model = jft.MultiLabelClassifier(
            backbone, run.labels, shards=4, label_prior=4 / run.labels
        )
        model.compile(keras.optimizers.SGD(1e-3, momentum=0.9))

    class Meter(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.before = counters()

        def on_epoch_end(self, epoch, logs=None):
            self.took = taken(self.before, counters())

    meter = Meter()
    history = model.fit(batches, epochs=EPOCHS, verbose=0, callbacks=[meter])
    if replicas.is_chief(model):
        sizes = {
            v.path: 4 * math.prod(v.shape) for v in model.trainable_weights
        }
        found = {
            "gradient_bytes": sum(sizes.values()),
            "head_bytes": sum(
                size for path, size in sizes.items() if "head_logits" in path
            ),
            "loss": history.history["loss"][-1],
            **meter.took,
        }
        print(SAID + json.dumps(found), flush=True)


def counters():
    """Return seconds, bytes on the loopback, processor seconds by job."""
    for line in (
        pathlib.Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()
    ):
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            received = int(numbers.split()[0])
    return time.perf_counter(), received, processor_seconds()


def processor_seconds():
    """Return the processor seconds of the tasks of this cluster, by job."""
    used = dict.fromkeys(("worker", "chief", "ps"), 0.0)
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            # Behind the name, which may have spaces: state, parent, group, ...
            stat = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if int(stat[2]) != os.getpgrp():
                continue
            environment = (folder / "environ").read_bytes()
        except OSError:  # It has ended.
            continue
        told = [
            word.partition(b"=")[2]
            for word in environment.split(b"\0")
            if word.startswith(b"TF_CONFIG=")
        ]
        job = json.loads(told[0])["task"]["type"] if told else "worker"
        ticks = int(stat[11]) + int(stat[12])
        used[job] += ticks / os.sysconf("SC_CLK_TCK")
    return used


def taken(before, after):
    """Return what lies between two results of `counters`."""
    used = {f"cpu_{job}": after[2][job] - before[2][job] for job in after[2]}
    return {
        "seconds": after[0] - before[0],
        "bytes": after[1] - before[1],
        **used,
    }


def cached(count, folder):
    """Return training images, rendered on the first call."""
    import keras_jft as jft

    data = jft.data.load("synthetic", num_examples=count)
    return jft.data.cache(data, pathlib.Path(folder, str(count)))


# === In the process that is called ===


def runs(arguments):
    """Yield `(side, workers, labels, wire)`; one worker is one process."""
    for labels in arguments.labels:
        yield "one_device", 1, labels, "float32"
        for workers in arguments.workers:
            for side in arguments.sides:
                if side == "parameter_server" or workers > 1:
                    yield side, workers, labels, "float32"
            if "multi_worker" in arguments.sides and workers > 1:
                yield "multi_worker", workers, labels, "bfloat16"


def start(run, arguments, seed, folder):
    """Run a cluster; return its row."""
    side, workers, labels, wire = run
    options = {
        "side": side,
        "workers": workers,
        "labels": labels,
        "wire": wire,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "seed": seed,
    }
    command = [sys.executable]
    if side != "one_device":
        servers = SERVERS if side == "parameter_server" else 0
        command += ["-m", "keras_jft.training.launch", f"--workers={workers}"]
        command += [f"--servers={servers}"]
    command += [__file__, f"--folder={folder}"]
    command += [f"--{name}={value}" for name, value in options.items()]
    is_apart = apart()
    if is_apart:
        command = [*APART, WITH_LOOPBACK, *command]
    process = subprocess.Popen(
        command,
        env={**os.environ, **kept_memory.ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        process_group=0,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    finally:
        process.terminate()  # The launcher, which ends its cluster.
        process.communicate()
    said = [line for line in output.splitlines() if SAID in line]
    if process.returncode or not said:
        raise RuntimeError(f"{run} measured nothing:\n{output[-4000:]}")
    found = json.loads(said[0].partition(SAID)[2])
    return {
        **options,
        "quiet": arguments.quiet,
        "namespace": is_apart,
        **found,
    }


def apart():
    """Return whether a command can have a network of its own."""
    try:
        done = subprocess.run(
            [*APART, "ip link set lo up"], capture_output=True
        )
    except OSError:
        return False
    return done.returncode == 0


def fewest(row):
    """Return the fewest bytes that a step of a worker puts on the wire."""
    size, workers = row["gradient_bytes"], row["workers"]
    if row["side"] == "parameter_server":
        return 2 * size
    if row["wire"] == "bfloat16":
        size /= 2
    return 2 * (workers - 1) / workers * size


def processor(row):
    """Return the processor seconds of all tasks together."""
    return row["cpu_worker"] + row["cpu_chief"] + row["cpu_ps"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    for name, kind in (
        ("side", str),
        ("wire", str),
        ("seed", int),
        ("folder", str),
    ):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="nothing else runs here: the clock counts, too",
    )
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.side:
        arguments.workers, arguments.labels = (
            arguments.workers[0],
            arguments.labels[0],
        )
        measure(arguments)
        return
    # A cluster ends with this script.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    everything = list(runs(arguments))
    if arguments.smoke:
        arguments.seeds, arguments.steps, arguments.batch = [0], 2, 8
        everything = [("multi_worker", 2, LABELS[0], "bfloat16")]
    found = [] if arguments.smoke else kept()
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for run in everything:
                if seed in {row["seed"] for row in grouped(found).get(run, ())}:
                    continue  # It has a row.
                found.append(start(run, arguments, seed, folder))
                _keep(found[-1], arguments)
    print("\n".join(table(found)))


def _keep(row, arguments):
    from keras_jft.scaling.rows import rows

    print(json.dumps(row), flush=True)
    if not arguments.smoke:
        rows.append(RESULTS / "scaling.jsonl", {**row, **rows.provenance()})


# === Rows to a table and a figure ===


def kept():
    """Return the rows that there are."""
    path = RESULTS / "scaling.jsonl"
    if not path.exists():
        return []
    return [
        json.loads(line)
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def grouped(rows):
    """Return `{(side, workers, labels, wire): rows}`, seeds together."""
    groups = {}
    for row in rows:
        key = tuple(row[k] for k in ("side", "workers", "labels", "wire"))
        groups.setdefault(key, []).append(row)
    return groups


def ratios(rows, seconds):
    """Return `{key of grouped: images per second, over one process's}`.

    The median over seeds, of ratios of the same seed.

    Args:
        rows: Rows.
        seconds: A function of a row: the seconds that count.
    """
    groups, found = grouped(rows), {}

    def speed(row):
        return row["steps"] * row["workers"] * row["batch"] / seconds(row)

    for key, several in groups.items():
        alone = {
            row["seed"]: speed(row)
            for row in groups.get(("one_device", 1, key[2], "float32"), ())
        }
        pairs = [
            speed(row) / alone[row["seed"]]
            for row in several
            if row["seed"] in alone
        ]
        if pairs:
            found[key] = statistics.median(pairs)
    return found


def table(rows):
    """Yield the lines of a Markdown table."""
    yield (
        "| labels | strategy | workers | gradients | MB per step "
        "| over the fewest | processor ms per step: workers, chief, servers "
        "| images per processor second, over one process's | by the clock "
        "| loss |"
    )
    yield "|---" * 10 + "|"
    of_processor = ratios(rows, processor)
    quiet = [row for row in rows if row["quiet"]]
    of_clock = ratios(quiet, lambda row: row["seconds"])
    groups = grouped(rows)
    middle = statistics.median
    for key in sorted(groups, key=lambda key: (key[2], key[0], key[1], key[3])):
        side, workers, labels, wire = key
        several = groups[key]
        steps = several[0]["steps"] * workers
        sent = middle(row["bytes"] / steps for row in several)
        least = fewest(several[0])
        used = [
            middle(row[f"cpu_{job}"] for row in several) / steps
            for job in ("worker", "chief", "ps")
        ]
        cells = [
            f"{labels:,}",
            side,
            str(workers),
            wire,
            f"{sent / 1e6:.2f}",
            f"{sent / least:.3f}" if least else "-",
            ", ".join(f"{1000 * seconds:.0f}" for seconds in used),
            *(
                f"{found[key]:.2f}" if key in found else "-"
                for found in (of_processor, of_clock)
            ),
            f"{middle(row['loss'] for row in several):.2f}",
        ]
        yield f"| {' | '.join(cells)} |"


def plot(rows):
    """Return a figure: bytes of a step, and images per second, by workers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    against = ratios(rows, processor)
    groups = grouped(rows)
    few, many = LABELS
    for color, (side, wire) in enumerate(
        [
            ("multi_worker", "float32"),
            ("multi_worker", "bfloat16"),
            ("parameter_server", "float32"),
        ]
    ):
        name = side if wire == "float32" else f"{side}, {wire}"
        for labels, style, fill in ((few, "o--", "white"), (many, "o-", None)):
            keys = sorted(
                key
                for key in groups
                if (key[0], *key[2:]) == (side, labels, wire)
            )
            if not keys:
                continue
            workers = [key[1] for key in keys]
            sent = [
                statistics.median(row["bytes"] for row in groups[key])
                / (groups[key][0]["steps"] * key[1] * 1e6)
                for key in keys
            ]
            least = [fewest(groups[key][0]) / 1e6 for key in keys]
            options = {
                "color": f"C{color}",
                "label": f"{name}, {labels:,}",
                "markerfacecolor": fill,
            }
            axes[0].plot(workers, sent, style, **options)
            axes[0].plot(workers, least, "_", color="black", markersize=14)
            axes[1].plot(workers, [against[k] for k in keys], style, **options)
    axes[0].set(
        xlabel="workers",
        ylabel="MB per worker and step (bar: the fewest)",
        yscale="log",
    )
    axes[0].set_yticks([2, 5, 10, 20], labels=["2", "5", "10", "20"])
    axes[0].minorticks_off()
    axes[1].axhline(1, color="gray", linewidth=0.8)
    axes[1].set(
        xlabel="workers",
        ylabel="images per processor second,\nover one process's",
        ylim=0,
    )
    lines, names = axes[1].get_legend_handles_labels()
    figure.legend(
        lines,
        names,
        fontsize=7,
        title="strategy, labels of the head",
        title_fontsize=7,
        loc="outside right center",
    )
    for axis in axes:
        axis.set_xticks(sorted({key[1] for key in groups}))
    return figure


if __name__ == "__main__":
    main()
