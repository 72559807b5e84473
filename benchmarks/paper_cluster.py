"""From measured steps to 50 workers and 17 servers: how long the paper takes.

    python benchmarks/paper_cluster.py

`docs/scale.md` says what is assumed, and how the result compares. Bytes and
processor seconds per byte come from the rows of `speed/scaling.py`; what a K80
computes is published (TensorFlow, "Benchmarks", May 2017,
tensorflow/docs_src/performance/benchmarks.md): 20.0 images/s of a ResNet-152 at
224 px, batch 32; multiply-adds are those of `paper_hours.py`.
"""

import dataclasses
import math
import pathlib
import statistics

import paper_hours

from keras_jft.scaling.rows import rows

HERE = pathlib.Path(__file__).parent
PARAMETERS, HEAD = 79_978_419, 37_478_259  # ResNet-101, 18,291 labels.
BATCH, STEPS = 32, 36_000_000  # Of one worker; of all of them.
IMAGES = 300_000_000
# Bytes of the fullest of 17 servers over the mean, with the head in 50 shards,
# by `largest_server` of `variables(50)`; in one, it is 8.3.
LARGEST = 1.30
MONTHS = 2 * 365.25 / 12  # In days.
GIGABIT = 1e9 / 8  # Bytes per second.
K80 = 20.0 * paper_hours.NET[152]  # Billion multiply-adds a second.
DAY = 86_400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Workers and parameter servers, and what each can do.

    Attributes:
        workers: How many workers.
        servers: How many parameter servers.
        compute: Seconds in which a worker computes the gradients of a batch.
        gradient: Bytes of the gradients, which are those of the weights.
        link: Bytes per second of a worker's connection, each way.
        server_link: Those of a server's.
        overhead: Bytes on the wire per byte of weights and gradients.
        server_seconds: Processor seconds of a server per byte that it sends or
            receives, updates included.
        server_cores: Cores of a server.
        largest: Bytes of the server that holds most, over the mean.
    """

    workers: int
    servers: int
    compute: float
    gradient: float
    link: float
    server_link: float
    overhead: float = 1.0
    server_seconds: float = 0.0
    server_cores: int = 1
    largest: float = 1.0


def limits(cluster):
    """Return the seconds of a worker's step that each part alone would allow.

    A worker reads the weights, computes, and sends its gradients, one after the
    other. A server sends and receives at once, and so the busiest of them holds
    up all workers if it needs longer for one step of each.

    Returns:
        A dict of seconds; the largest decides.
    """
    sent = cluster.gradient * cluster.overhead
    share = cluster.workers * sent * cluster.largest / cluster.servers
    return {
        "worker": cluster.compute + 2 * sent / cluster.link,
        "server's link": share / cluster.server_link,
        "server's cores": 2
        * share
        * cluster.server_seconds
        / cluster.server_cores,
    }


def days(cluster, steps=STEPS):
    """Return the days that so many steps of single workers take."""
    return steps / cluster.workers * max(limits(cluster).values()) / DAY


def all_reduce_seconds(cluster):
    """Return the seconds of a synchronous step, by a ring of the workers."""
    n = cluster.workers
    sent = 2 * (n - 1) / n * cluster.gradient * cluster.overhead
    return cluster.compute + sent / cluster.link


def compute_seconds(images=BATCH, layers=101, size=299, speed=K80):
    """Return the seconds in which a device computes gradients of some images.

    Args:
        images: Number of images.
        layers: Layers of the ResNet.
        size: Side of an image in pixels.
        speed: Billion multiply-adds of a forward pass per second; what the rest
            of a step takes is in it.
    """
    return images * paper_hours.NET[layers] * (size / 224) ** 2 / speed


def largest_server(sizes, servers):
    """Return the bytes of the server that holds most, over the mean.

    Args:
        sizes: Bytes of the variables, which are placed in turn.
        servers: How many servers.
    """
    held = [sum(sizes[first::servers]) for first in range(servers)]
    return max(held) / statistics.mean(held)


def variables(shards):
    """Return the bytes of each variable of the paper's net, as it is created.

    Args:
        shards: Kernels of the head.
    """
    import keras_jft as jft
    from keras_jft.training import keras_internals

    def make():
        backbone = jft.ResNet.from_depth(101, image_shape=(299, 299, 3))
        return jft.MultiLabelClassifier(backbone, 18_291, shards=shards)

    shapes = keras_internals.shapes_of_weights(make)
    return [4 * math.prod(shape) for shape in shapes]


def paper_seconds():
    """Return the seconds of a worker's step that two months imply."""
    return MONTHS * DAY * 50 / STEPS


def implied_link():
    """Return the bytes per second of a worker's link that would explain them.

    If nothing but computing and that link took time.
    """
    return 2 * 4 * PARAMETERS / (paper_seconds() - compute_seconds())


def published():
    """Return seconds of a step of 64 K80s: what they took, and two limits.

    Of a ResNet-152, 32 images per GPU, in 8 machines (p2.8xlarge, 10 Gbit/s)
    with 4 servers: 981 images/s, and 19.4 of one GPU (the source of `K80`,
    "Amazon EC2 Distributed"). They train synchronously, so that the servers
    first take in the gradients of all machines, and then give out the weights.

    Returns:
        Seconds if all of the exchange hides behind computing, seconds that it
        took, and seconds if nothing hides.
    """
    cluster = Cluster(
        workers=8,
        servers=4,
        compute=BATCH / 19.4,
        gradient=4 * 60.2e6,
        link=10 * GIGABIT,
        server_link=10 * GIGABIT,
    )
    each_way = limits(cluster)["server's link"]
    took = 64 * BATCH / 981
    return cluster.compute, took, cluster.compute + 2 * each_way


# === With what was measured ===


def read():
    """Return the rows of `speed/scaling.py`."""
    return rows.read(HERE / "results" / "scaling.jsonl")


def measured(found):
    """Return `overhead` and `server_seconds` of a `Cluster`, by the rows.

    Medians over seeds, of the most workers and the widest head.
    """
    asynchronous = [row for row in found if row["side"] == "parameter_server"]
    most = max((row["workers"], row["labels"]) for row in asynchronous)
    several = [
        row for row in asynchronous if (row["workers"], row["labels"]) == most
    ]
    sent = [2 * row["gradient_bytes"] * _steps(row) for row in several]
    return {
        "overhead": statistics.median(
            row["bytes"] / least
            for row, least in zip(several, sent, strict=True)
        ),
        "server_seconds": statistics.median(
            row["cpu_ps"] / row["bytes"] for row in several
        ),
    }


def _steps(row):
    return row["steps"] * row["workers"]


def table(costs):
    """Yield the lines of a Markdown table of clusters."""
    yield (
        "| links of workers, servers | cores of a server | a step: worker "
        "| server's link | server's cores | days of 36M steps |"
    )
    yield "|---" * 6 + "|"
    for link, server_link, cores in (
        (1, 1, 4),
        (1, 10, 4),
        (10, 10, 4),
        (10, 10, 16),
    ):
        cluster = Cluster(
            workers=50,
            servers=17,
            compute=compute_seconds(),
            gradient=4 * PARAMETERS,
            link=link * GIGABIT,
            server_link=server_link * GIGABIT,
            server_cores=cores,
            largest=LARGEST,
            **costs,
        )
        seconds = [f"{s:.1f} s" for s in limits(cluster).values()]
        yield (
            f"| {link}, {server_link} Gbit/s | {cores} | "
            + " | ".join(seconds)
            + f" | {days(cluster):.0f} |"
        )


def main():
    costs = measured(read())
    print(costs)
    print("\n".join(table(costs)))
    print(f"Two months: {paper_seconds():.1f} s a step of a worker,")
    print(f"computing {compute_seconds():.1f} s,")
    print(f"and {implied_link() / GIGABIT:.2f} Gbit/s for the rest.")
    least, took, most = published()
    print(f"64 K80s took {took:.2f} s, between {least:.2f} and {most:.2f} s.")


if __name__ == "__main__":
    main()
