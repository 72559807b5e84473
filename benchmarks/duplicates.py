"""Are evaluation images among the pre-training images? Appendix A, small.

Question: Sun et al. 2017 find near-duplicates of 890 of 50,000 ImageNet
validation images in its training set, and that scores without them hardly
differ (Tables 8 to 10). Does `jft.evaluation.duplicates` find copies that we
plant (JPEG 50, resized 0.5 to 2 times, cropped by 10%, mirrored) among 95,000
images of Tiny ImageNet at 32 px, and how many of its 10,000 validation images
have near-duplicates there?

Command:

    python benchmarks/duplicates.py --tiny-imagenet DIR --pretraining 10000

A query's best reference is found by the cosine of embeddings; the pair is then
judged by the correlation of its pixels (`correlation`), which looks at mirrors
and windows. Rows go to benchmarks/results/duplicates.jsonl, pairs near the
threshold to benchmarks/figures/duplicates.png.

Result (seeds 0, 1, 2, each with 500 copies per edit among 500 new images; mean
recall at the threshold whose precision is 95%):

    found by, judged by     jpeg  resize  crop  flip  all four   color  text
    thumbnails, pixels      1.00  1.00    0.89  1.00    0.97     1.00   0.99
    thumbnails, cosine      1.00  1.00    0.63  1.00    0.91     1.00   0.98
    backbone, pixels        0.73  0.64    0.50  0.74    0.65     0.73   0.54
    backbone, cosine        0.42  0.43    0.19  0.22    0.32     0.41   0.26

Thumbnails judged by pixels reach a recall above 0.95 at a precision of 0.95.
Features of a backbone trained on 10,000 images describe content: they find
other images of the same kind. (Those of an earlier run, trained on 95,000
images, found 0.72 of all four.)

Of the 10,000 validation images 20 have a reference whose pixels correlate by
0.95 or more, 3 by 0.98. By eye 6 of the 20 are copies, all of those above 0.968
and one more; the others share a horizon: at 32 px the threshold must be higher
than the paper's images need (it finds 1.8% in ImageNet). Leaving all 20 out
moves no score by more than 0.02 points, as in Tables 8 to 10 (probe of a
backbone of 10,000 images: top-1 4.78 to 4.79, top-5 16.94 to 16.95).

Cost: 42 minutes on 2 cores of an AMD EPYC (24 GB) that much other work shared.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile
import time

import data_size
import keras
import matplotlib

matplotlib.use("Agg")

import numpy as np
from PIL import Image

import keras_jft as jft
from keras_jft.evaluation import duplicates as dup
from keras_jft.scaling.rows import rows

HERE = pathlib.Path(__file__).parent
MILD = ("jpeg", "resize", "crop", "flip")
# Where new images far outnumber copies, the threshold is one that new images
# hardly reach; the gallery shows the pairs about it.
STRICT = 0.95
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98)


def references(tiny_imagenet, classes=None):
    """Return the training images, one label each."""
    return jft.data.load(
        "image_folder",
        split="train",
        directory=str(tiny_imagenet),
        exclude=data_size.held_out(tiny_imagenet) if classes is None else (),
    )


def validation_options(tiny_imagenet):
    """Return options to load the validation images with the same classes."""
    folders = (tiny_imagenet / "train").iterdir()
    return {
        "path": str(tiny_imagenet / "val_labels.csv"),
        "directory": str(tiny_imagenet / "val" / "images"),
        "label_names": sorted(folder.name for folder in folders),
        "many": False,
    }


class Pictures:
    """Finds the image of an id in several data sets."""

    def __init__(self, *sources):
        self.places = {
            name: (source, place)
            for source in sources
            for place, name in enumerate(source.ids(np.arange(len(source))))
        }

    def __call__(self, name):
        """Return the image of an id, `(H, W, 3)` uint8."""
        source, place = self.places[name]
        return source[place]["images"]


def correlations(found, queries, refs):
    """Return the correlation of the pixels of each query and its reference."""
    return np.array(
        [
            dup.correlation(queries(one), refs(other))
            for one, other in zip(found.ids, found.best_ids, strict=True)
        ]
    )


def plant(embedder, sets, embedded, folder, count, seed):
    """Plant copies; return rows of recall by edit, and precision over all."""
    train, val = sets
    picked = jft.data.subset(train, count, seed=seed)
    pictures = Pictures(train)
    others = dup.embed(
        embedder,
        jft.data.subset(val, count, seed=seed),
        folder / f"others_{seed}",
    )
    clean = dup.find(others, embedded)
    clean_pixels = correlations(clean, Pictures(val), pictures)
    for edit in (*MILD, "color", "text"):
        copies = dup.Copies(picked, edit, seed=seed)
        found = dup.find(
            dup.embed(embedder, copies, folder / f"{edit}_{seed}"), embedded
        )
        pixels = correlations(found, Pictures(copies), pictures)
        right = found.best_ids == found.ids
        yield {
            "experiment": "planted",
            "embedding": folder.name,
            "edit": edit,
            "seed": seed,
            "right": right,
            "cosine": found.similarity,
            "pixels": pixels,
            "others_cosine": clean.similarity,
            "others_pixels": clean_pixels,
        }


def score(planted, kind, precision=0.95):
    """Calibrate on mild edits; return a row per edit, and one for all."""
    mild = [p for p in planted if p["edit"] in MILD]
    # A copy whose best reference is another image is not found, at whatever
    # threshold; as one of the others it counts against precision.
    copies = np.concatenate([p[kind][p["right"]] for p in mild])
    missed = np.concatenate([p[kind][~p["right"]] for p in mild])
    others = np.concatenate([mild[0][f"others_{kind}"], missed])
    try:
        found = dup.calibrate(copies, others, precision)
    except ValueError as error:  # No threshold is that precise.
        print(error)
        return
    for p in planted:
        hit = p["right"] & (p[kind] >= found.threshold)
        yield {
            **{k: p[k] for k in ("experiment", "embedding", "edit", "seed")},
            "judged_by": kind,
            "threshold": round(found.threshold, 4),
            "recall": float(hit.mean()),
            "recall_strict": _recall(p, kind),
            "recall_at_1": float(p["right"].mean()),
        }
    total = len(copies) + len(missed)
    yield {
        "experiment": "planted",
        "embedding": mild[0]["embedding"],
        "edit": "all mild",
        "seed": mild[0]["seed"],
        "judged_by": kind,
        "threshold": round(found.threshold, 4),
        "precision": found.precision,
        "recall": found.recall * len(copies) / total,
        "recall_strict": float(np.mean([_recall(p, kind) for p in mild])),
        "false_strict": float((mild[0][f"others_{kind}"] >= STRICT).mean()),
        "queries": total + len(mild[0][f"others_{kind}"]),
    }


def _recall(planted, kind):
    """Return the share of copies found at the threshold `STRICT`."""
    return float((planted["right"] & (planted[kind] >= STRICT)).mean())


def tables(arguments, ids):
    """Return top-1 and top-5 on validation images, with and without `ids`."""
    options = validation_options(arguments.tiny_imagenet)
    base = data_size.pretraining(arguments.tiny_imagenet)
    runner = jft.scaling.Runner(arguments.cache / "backbones")
    train = jft.data.cache(
        jft.data.subset(
            references(arguments.tiny_imagenet, "all"), arguments.examples
        )
    )
    val = jft.data.load("manifest", split=None, **options)
    for size in (0, arguments.pretraining):
        backbone = runner.backbone(dataclasses.replace(base, num_examples=size))
        config = jft.transfer.Config(
            mode="probe", epochs=arguments.epochs, batch_size=128
        )
        model = jft.transfer.run(config, backbone, train, verbose=0)
        scores = jft.evaluation.run(
            jft.evaluation.Config(
                task="classification", batch_size=arguments.batch_size
            ),
            model,
            val,
            duplicates=ids,
        )
        yield {"experiment": "scores", "num_examples": size, **scores}


def study(arguments, results, figures):
    folder = arguments.cache / "duplicates"
    began = time.perf_counter()
    train = jft.data.cache(references(arguments.tiny_imagenet))
    val = jft.data.cache(
        jft.data.load(
            "manifest",
            split=None,
            **validation_options(arguments.tiny_imagenet),
        )
    )
    backbone = jft.scaling.Runner(arguments.cache / "backbones").backbone(
        dataclasses.replace(
            data_size.pretraining(arguments.tiny_imagenet),
            num_examples=arguments.pretraining,
        )
    )
    embedders = {"thumbnails": dup.thumbnails(), "backbone": backbone}
    for name, embedder in embedders.items():
        embedded = dup.embed(embedder, train, folder / name / "train")
        for seed in arguments.seeds:
            planted = list(
                plant(
                    embedder,
                    (train, val),
                    embedded,
                    folder / name,
                    arguments.planted,
                    seed,
                )
            )
            for kind in ("cosine", "pixels"):
                for row in score(planted, kind):
                    report(row, results)
    embedded = dup.Embeddings(folder / "thumbnails" / "train")
    found = dup.find(
        dup.embed(embedders["thumbnails"], val, folder / "thumbnails" / "val"),
        embedded,
    )
    of_val, of_train = Pictures(val), Pictures(train)
    pixels = correlations(found, of_val, of_train)
    by_pixels = dataclasses.replace(found, similarity=pixels, threshold=STRICT)
    for kind, one in (("cosine", found), ("pixels", by_pixels)):
        counts = dup.counts(one, THRESHOLDS)
        report(
            {
                "experiment": "counts",
                "judged_by": kind,
                "queries": len(val),
                "references": len(train),
                **{f"at {t}": count for t, count in counts.items()},
            },
            results,
        )
    figures.mkdir(parents=True, exist_ok=True)
    dup.gallery(
        by_pixels, dup.near(by_pixels, 48), of_val, of_train, columns=12
    ).savefig(figures / "duplicates.png", dpi=80)
    for row in tables(arguments, by_pixels.duplicate_ids):
        report(row, results)
    print(f"{time.perf_counter() - began:.0f} s")


def report(row, results):
    """Print a row and append it to the results, with its provenance."""
    row = {k: v for k, v in row.items() if np.ndim(v) == 0}
    print(json.dumps(rows.to_json(row)))
    rows.append(results, {**row, **rows.provenance()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny-imagenet", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=".cache")
    parser.add_argument("--planted", type=int, default=500, help="an edit")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--pretraining", type=int, default=95_000)
    parser.add_argument("--examples", type=int, default=10_000, help="a probe")
    parser.add_argument("--epochs", type=int, default=5, help="of the probe")
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            _smoke(arguments, pathlib.Path(folder))
        return
    if not arguments.tiny_imagenet:
        parser.error("--tiny-imagenet is needed, or --smoke")
    study(arguments, HERE / "results" / "duplicates.jsonl", HERE / "figures")


def _smoke(arguments, folder):
    """Run the whole benchmark on a few made-up images."""
    rng = np.random.default_rng(0)
    tiny = folder / "tiny"
    names = [f"class{i:02}" for i in range(20)]
    lines = ["image,labels"]
    (tiny / "val" / "images").mkdir(parents=True)
    for name in names:
        (tiny / "train" / name).mkdir(parents=True)
        for i in range(8):
            _picture(rng, tiny / "train" / name / f"{name}_{i}.png")
        _picture(rng, tiny / "val" / "images" / f"{name}.png")
        lines.append(f"{name}.png,{name}")
    (tiny / "val_labels.csv").write_text("\n".join(lines), encoding="utf-8")
    (tiny / "hierarchy.json").write_text(
        json.dumps(
            {
                "names": {name: name for name in ("root", *names)},
                "edges": [["root", name] for name in names],
            }
        ),
        encoding="utf-8",
    )
    arguments.tiny_imagenet, arguments.cache = tiny, folder / "cache"
    arguments.planted, arguments.pretraining = 16, 0
    arguments.examples, arguments.epochs = 128, 1
    arguments.batch_size, arguments.seeds = 20, (0,)
    keras.utils.set_random_seed(0)
    study(arguments, folder / "rows.jsonl", folder)


def _picture(rng, path):
    coarse = rng.integers(0, 256, (6, 6, 3), "uint8")
    image = Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC)
    image.save(path)


if __name__ == "__main__":
    main()
