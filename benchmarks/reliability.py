"""Does a run that is killed repeatedly end like one that never was?

Question: with `Checkpoint`, does a run that is killed (SIGKILL) at random
moments, during steps, saves and reads, end with exactly the weights, bit for
bit, of a run that was not? Dropout and random augmentation, in the model and in
the data, are on; a checkpoint is written after every step, so that most kills
hit one that is being written. Half of the runs write in a thread.

Command:

    python benchmarks/reliability.py --kills 100
    python benchmarks/reliability.py --damaged 200 --failed-writes 50

The second damages the newest checkpoint of 200 copies of a run (a bit flipped,
or the file cut off, at a random place), and makes a save of 50 others fail when
the file reaches a certain size (RLIMIT_FSIZE, evenly spread): does the run
report it, keep the older checkpoint, and end with the same weights when
restarted?

Result (TensorFlow, 2 cores of a Xeon with AMX, 24 GB; seed 0): 100 kills in 26
runs; all 26 ended bit for bit like the one that was not killed, and no kill
cost more than one step, the save interval. Of 200 damaged checkpoints all were
noticed; the run went on from the one before and ended alike. 50 failed writes
all raised an error that names the path, left the checkpoint before as it was
and no other file, and the run ended alike when it was started again.

A row of `results/reliability.jsonl` has the kills, the runs that were finished
through them, how many of these ended with the same weights, and how many steps
a kill cost at most; or the damaged checkpoints and failed writes, and how many
were reported and ended with the same weights. Processes are forked from one
that has imported TensorFlow but run no operation.
"""

import argparse
import contextlib
import json
import multiprocessing
import pathlib
import random
import resource
import shutil
import tempfile
import time
import warnings

import keras
import numpy as np

import keras_jft
from keras_jft import data, training
from keras_jft.training.checkpoints.resuming import is_passing_over

HERE = pathlib.Path(__file__).parent
EPOCHS, EXAMPLES, BATCH = 3, 80, 8
PATIENCE = 1800  # Time limit of one process, in seconds.


class Steps(keras.callbacks.Callback):
    """Records each finished step, as an outside observer would."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch, logs=None):
        """Append a line, which survives a SIGKILL."""
        if is_passing_over(self.model):
            return
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{self._epoch * EXAMPLES // BATCH + batch + 1}\n")

    def on_epoch_begin(self, epoch, logs=None):
        """Record the epoch."""
        self._epoch = epoch


def build(eager=False):
    """Build a small network with random augmentation and Dropout."""
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.RandomFlip("vertical")(x)
    x = keras.layers.Conv2D(16, 3, strides=2)(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.3)(x)
    model = training.Model(images, keras.layers.Dense(64)(x))
    model.targets = lambda batch: batch["labels"][:, 0] % 64
    model.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=eager,
    )
    return model


def read():
    """Return the batches of a run."""
    examples = data.load("synthetic", num_examples=EXAMPLES)
    return data.batches(
        examples, BATCH, transforms="flip", training=True, seed=1
    )


def fit(folder, asynchronous):
    """Fit in `folder`, from where it was left, and save the result."""
    batches = read()
    model = build()
    history = model.fit(
        batches,
        epochs=EPOCHS,
        callbacks=[
            training.Checkpoint(
                folder / "run", save_every=1, asynchronous=asynchronous
            ),
            Steps(folder / "steps"),
        ],
        verbose=0,
    )
    variables = [*model.variables, *model.optimizer.variables]
    # Write under another name first: the parent may kill us here, too.
    np.savez(
        folder / "part.npz",
        *map(keras.ops.convert_to_numpy, variables),
        *history.history.values(),
    )
    (folder / "part.npz").rename(folder / "final.npz")


def attempt(folder, asynchronous, after=None, delay=0.0):
    """Run `fit` in a process, and kill it.

    Args:
        folder: As for `fit`.
        asynchronous: As for `fit`.
        after: Number of steps after which it is killed; None lets it end.
        delay: Seconds from that step to the kill.

    Returns:
        Seconds from its first step to its end.
    """
    before = len(noted(folder))
    process = multiprocessing.get_context("fork").Process(
        target=fit, args=(folder, asynchronous)
    )
    process.start()
    try:
        end = time.monotonic() + PATIENCE
        while process.is_alive() and len(noted(folder)) < before + (after or 1):
            time.sleep(0.004)
            if time.monotonic() > end:
                raise TimeoutError(f"No step within {PATIENCE} s.")
        began = time.monotonic()
        process.join(PATIENCE if after is None else delay)
        if after is None and process.exitcode != 0:
            raise RuntimeError(f"`fit` ended with {process.exitcode}.")
    finally:
        process.kill()
        process.join()
    if process.exitcode not in (0, -9):
        raise RuntimeError(f"`fit` ended with {process.exitcode}.")
    return time.monotonic() - began


def noted(folder):
    """Return the numbers of the steps done in `folder`, in order."""
    path = folder / "steps"
    return (
        list(map(int, path.read_text(encoding="utf-8").split()))
        if path.exists()
        else []
    )


def lost(steps):
    """Return the largest number of steps that a kill caused to be repeated.

    Example:

    >>> lost([1, 2, 3, 4, 3, 4, 5, 6])
    2
    """
    pairs = zip(steps, steps[1:], strict=False)
    return max((a + 1 - b for a, b in pairs if b <= a), default=0)


def same(one, other):
    """Return whether two files hold the same arrays, bit for bit."""
    with np.load(one) as a, np.load(other) as b:
        return a.files == b.files and all(
            a[name].tobytes() == b[name].tobytes() for name in a.files
        )


def study(folder, kills, seed):
    """Run and kill until there were `kills`; return a row of results."""
    rng = random.Random(seed)
    whole = folder / "whole"
    whole.mkdir()
    seconds = attempt(whole, asynchronous=True)
    steps = EPOCHS * EXAMPLES // BATCH
    row = {"kills": 0, "runs": 0, "identical": 0, "most_steps_lost": 0}
    while row["kills"] < kills:
        run = folder / f"run{row['runs']}"
        run.mkdir()
        asynchronous = row["runs"] % 2 == 0
        while not (run / "final.npz").exists():
            left = steps - max(noted(run), default=0)
            after, delay = None, rng.uniform(0, seconds / steps)
            if left and row["kills"] < kills:
                after = rng.randint(1, left)
            attempt(run, asynchronous, after, delay)
            row["kills"] += not (run / "final.npz").exists()
        row["runs"] += 1
        row["identical"] += same(whole / "final.npz", run / "final.npz")
        row["most_steps_lost"] = max(row["most_steps_lost"], lost(noted(run)))
        print(row, flush=True)
    return row


def finish(model, batches, folder):
    """Fit from the files in `folder` to the end; return all resulting bits."""
    checkpoint = training.Checkpoint(folder, save_every=1, asynchronous=False)
    model.fit(batches, epochs=EPOCHS, callbacks=[checkpoint], verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v).tobytes() for v in variables]


def place(folder, *paths):
    """Return a new folder with copies of the files at `paths`."""
    folder.mkdir()
    return [shutil.copy(path, folder) for path in paths]


def damage(path, rng):
    """Flip one bit of a random byte of a file, or cut the file off there."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    if rng.random() < 0.5:
        content[at] ^= 1 << rng.randrange(8)
    else:
        del content[at:]
    path.write_bytes(content)


@contextlib.contextmanager
def full_disk(size):
    """Limit the size of files that this process writes."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def misfortunes(folder, damaged, failed, seed):
    """Damage checkpoints, then make writes fail; return a row of results."""
    rng = random.Random(seed)
    model, batches = build(eager=True), read()
    whole = finish(model, batches, folder / "undamaged")
    *_, before, last = sorted((folder / "undamaged").iterdir())
    row = {"damaged": damaged, "fell_back": 0, "identical": 0}
    for i in range(damaged):
        _, newest = place(folder / f"damaged{i}", before, last)
        damage(pathlib.Path(newest), rng)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = finish(model, batches, folder / f"damaged{i}")
        told = any(before.name in str(w.message) for w in caught)
        row["fell_back"] += told
        row["identical"] += outcome == whole
    row |= {"failed_writes": failed, "told": 0, "kept": 0, "finished_alike": 0}
    for i in range(failed):
        run = folder / f"failed{i}"
        place(run, before)
        try:
            with full_disk(last.stat().st_size * i // failed):
                finish(model, batches, run)
        except OSError as error:
            row["told"] += "could not be written" in str(error)
        (kept,) = run.iterdir()
        row["kept"] += kept.read_bytes() == before.read_bytes()
        row["finished_alike"] += finish(model, batches, run) == whole
    return row


def main():
    """Read the command line, run the study and write its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damaged", type=int, default=0)
    parser.add_argument("--failed-writes", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="2 kills")
    parser.add_argument("--folder", type=pathlib.Path, help="keep all files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        if arguments.damaged or arguments.failed_writes:
            row = misfortunes(
                folder,
                arguments.damaged,
                arguments.failed_writes,
                arguments.seed,
            )
        else:
            kills = 2 if arguments.smoke else arguments.kills
            row = study(folder, kills, arguments.seed)
    row.update(seed=arguments.seed, version=keras_jft.__version__)
    print(json.dumps(row))
    if not (arguments.smoke or arguments.folder):
        path = HERE / "results" / "reliability.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    if row["identical"] < row.get("runs", arguments.damaged):
        raise SystemExit("Runs ended with other weights.")


if __name__ == "__main__":
    main()
