"""Measure learning curves of public learners on real data, to test forecasts.

Question: how do the scores of many kinds of learners rise with data, over three
decades? `benchmarks/backtest.py` hides the largest decade of each curve and
forecasts it with the laws.

Data: scikit-learn's digits; Tiny ImageNet at 32 px as 64 principal components
of its pixels, and as pooled features of a backbone that `data_size.py`
pre-trained on 3,000 images; all 200 classes, two draws of 20, and the three
kinds at the top of the tree. Learners are scikit-learn's, with its defaults
but for what `LEARNERS` says.

Command:

    python benchmarks/learning_curves.py --tiny-imagenet DIR

continues where it stopped and appends to `results/learning_curves.csv`, one row
per fit: the curve, the number of training images, the seed (which draws the
images) and the accuracy on test images, which are the same for all fits of a
task.
"""

import argparse
import csv
import dataclasses
import pathlib
import time
import warnings

import numpy as np
from PIL import Image
from sklearn import (
    datasets,
    decomposition,
    discriminant_analysis,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
)

HERE = pathlib.Path(__file__).parent
CURVES = HERE / "results" / "learning_curves.csv"
COLUMNS = ("curve", "num_examples", "seed", "accuracy")
SEEDS = (0, 1, 2)
SHOWN = 9  # Number of sizes that a forecast sees.
LEARNERS = {
    "nearest_mean": neighbors.NearestCentroid,
    "naive_bayes": naive_bayes.GaussianNB,
    "discriminant": lambda: discriminant_analysis.LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=0.1
    ),
    "ridge": lambda: linear_model.RidgeClassifier(alpha=10.0),
    "logistic": lambda: linear_model.LogisticRegression(C=0.1, max_iter=100),
    "neighbors": lambda: neighbors.KNeighborsClassifier(10),
    "forest": lambda: ensemble.RandomForestClassifier(
        30, max_features=8, random_state=0
    ),
    "perceptron": lambda: neural_network.MLPClassifier(
        (64,), max_iter=30, random_state=0
    ),
    "kernel": lambda: svm.SVC(C=3.0),
}
MOST = 10_000  # Number of images in the largest fit.
SLOW = {"kernel": 5_000, "forest": 5_000}


@dataclasses.dataclass(frozen=True)
class Task:
    """Features and labels with a fixed split."""

    name: str
    train: tuple
    test: tuple

    def sizes(self, learner):
        """Return the sizes that a forecast sees (a tenth at most), and all."""
        most = min(len(self.train[1]), SLOW.get(learner, MOST))
        lowest = max(most / 1000, 2 * len(np.unique(self.test[1])))
        lowest = min(lowest, most / 60)
        shown = np.geomspace(lowest, most / 10, SHOWN).round().astype(int)
        return [*shown.tolist(), int(most)]


def digits():
    """Return the task of 1,797 handwritten digits of 8x8 pixels."""
    features, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    features, labels = features[order] / 16, labels[order]
    yield Task(
        "digits",
        (features[500:], labels[500:]),
        (features[:500], labels[:500]),
    )


def tiny_imagenet(folder, cache):
    """Return tasks of Tiny ImageNet, by features and by set of classes."""
    train, test = (_images(folder, part) for part in ("train", "val"))
    rng = np.random.default_rng(0)
    draws = [rng.permutation(200)[:20] for _ in range(2)]
    for kind, features in _features(folder, cache, train[0], test[0]).items():
        whole = (features[0], train[1]), (features[1], test[1])
        for i, classes in enumerate(draws):
            yield Task(f"{kind}_20_{'ab'[i]}", *_of(whole, classes))
        yield Task(f"{kind}_kinds", *_kinds(whole, folder))
        yield Task(f"{kind}_200", *whole)


def _images(folder, part):
    """Return pixels `(N, 32, 32, 3)` uint8 and labels 0..199 of one part."""
    names = sorted(p.name for p in (folder / "train").iterdir())
    if part == "train":
        paths = [
            (path, label)
            for label, name in enumerate(names)
            for path in sorted((folder / part / name / "images").iterdir())
        ]
    else:
        with (folder / "val_labels.csv").open(encoding="utf-8") as file:
            paths = [
                (
                    folder / "val/images" / row["image"],
                    names.index(row["labels"]),
                )
                for row in csv.DictReader(file)
            ]
    pixels = [np.asarray(Image.open(p).convert("RGB")) for p, _ in paths]
    return np.stack(pixels), np.array([label for _, label in paths])


def _features(folder, cache, train, test):
    """Return standardized features, `{kind: (train, test)}`."""
    flat = [
        part.reshape(len(part), -1) / np.float32(255) for part in (train, test)
    ]
    components = decomposition.PCA(64, random_state=0).fit(flat[0][::10])
    found = {"pixels": [components.transform(part) for part in flat]}
    found["backbone"] = [_pooled(folder, cache, part) for part in (train, test)]
    for kind, (first, second) in found.items():
        scaler = preprocessing.StandardScaler().fit(first)
        found[kind] = scaler.transform(first), scaler.transform(second)
    return found


def _pooled(folder, cache, images):
    """Return pooled features of the backbone of 3,000 images, seed 0."""
    import data_size
    import keras

    import keras_jft as jft

    config = dataclasses.replace(
        data_size.pretraining(folder), num_examples=3_000, seed=0
    )
    backbone = jft.scaling.Runner(cache / "backbones").backbone(config)
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")
    model = keras.Model(backbone.input, pooled(backbone.output))
    return model.predict(images, batch_size=500, verbose=0)


def _of(whole, classes):
    """Return the part of a task that belongs to some classes."""
    kept = [np.isin(labels, classes) for _, labels in whole]
    return [
        (features[k], labels[k])
        for (features, labels), k in zip(whole, kept, strict=True)
    ]


def _kinds(whole, folder):
    """Return the kind of each class: animal, artifact or neither."""
    import keras_jft as jft

    tree = jft.data.LabelHierarchy.from_json(folder / "hierarchy.json")
    names = sorted(p.name for p in (folder / "train").iterdir())
    kinds = np.array([_kind(tree, name) for name in names])
    return [(features, kinds[labels]) for features, labels in whole]


def _kind(tree, name):
    above = {tree.names[i] for i in tree.close([tree.keys.index(name)])}
    return 0 if "animal" in above else 1 if "artifact" in above else 2


def measure(task, learner, size, seed):
    """Return the accuracy of a learner fit to `size` images drawn by `seed`."""
    rng = np.random.default_rng(seed)
    # One permutation per seed, so smaller draws are inside larger ones.
    drawn = rng.permutation(len(task.train[1]))[:size]
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), LEARNERS[learner]()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of fits that could go on.
        model.fit(task.train[0][drawn], task.train[1][drawn])
        return model.score(*task.test)


def read(path=CURVES):
    """Return the rows of the file with numbers converted; none if missing."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                "curve": row["curve"],
                "num_examples": int(row["num_examples"]),
                "seed": int(row["seed"]),
                "accuracy": float(row["accuracy"]),
            }
            for row in csv.DictReader(file)
        ]


def extend(tasks, path, seeds=SEEDS, learners=tuple(LEARNERS)):
    """Measure what the file lacks, and append it row by row."""
    done = {(r["curve"], r["num_examples"], r["seed"]) for r in read(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(COLUMNS)
        for task in tasks:
            start = time.perf_counter()
            for learner in learners:
                for size in task.sizes(learner):
                    for seed in seeds:
                        curve = f"{task.name}/{learner}"
                        if (curve, size, seed) in done:
                            continue
                        score = measure(task, learner, size, seed)
                        writer.writerow((curve, size, seed, f"{score:.4f}"))
                file.flush()
            print(f"{task.name}: {time.perf_counter() - start:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        smoke()
        return
    extend(digits(), CURVES)
    if arguments.tiny_imagenet:
        extend(tiny_imagenet(arguments.tiny_imagenet, arguments.cache), CURVES)


def smoke():
    """Run two learners on the digits."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "curves.csv"
        extend(digits(), path, seeds=(0,), learners=("naive_bayes", "ridge"))
        print(f"{len(read(path))} fits")


if __name__ == "__main__":
    main()
