"""Sections 5.1 to 5.4 of Sun et al. 2017 as one study, large or small.

Question: does the paper hold on images of one's own? Every arm of Tables 1-14
and Figures 3-6 at the paper's settings: pre-training on 10, 30, 100 and 300M
images, from random weights or an ImageNet checkpoint, for 12, 24 and 36M steps,
on all labels or ImageNet's, with 50, 101 and 152 layers; fine-tuned and frozen;
COCO, Pascal VOC 2007 and 2012, people; with and without near-duplicates.

Commands:

    python benchmarks/paper.py --jft RECORDS --imagenet DIR --coco DIR \\
        --voc DIR --only "table 2" --dry-run
    python benchmarks/paper.py --scale 1e-4

The first says what is to be done, and what it takes: images, steps and
device-hours; without `--dry-run` it does it. A pre-training that arms share is
done once, the starts of a longer one are kept on its way, and the same command
goes on where it was stopped. `--strategy` trains on several devices;
`--executor` does several runs at a time, here or elsewhere; `--only` does some
tables and figures. Without data, `--scale` runs the same graph on made-up
images (`paper_world.py`): with small nets, and numbers of images and steps of
pre-training that are smaller by that factor. Rows go to `<output>/rows.jsonl`,
and all tables and figures beside the paper's to `<output>/paper.html`;
`--smoke` does a quick run of Table 1.

What a person must add: RECORDS has the sets `train`, with a hierarchy, and
`fasteval` (`jft.evaluation.dense_set` chooses such images); COCO the ids of
minival* in `annotations/mscoco_minival_ids.txt`; VOC the folder
`benchmark_RELEASE` of SBD. COCO's test-dev is scored by its server: Tables 2,
7, 11, 13 and 14 are filled with minival* and val2017 instead.

Result of `--scale 1e-4`, one seed (rows in results/paper.jsonl): all 41 runs,
tables and figures. No finding is decided, since one seed has no interval. Of
the 12 differences that the paper prints, other than those about duplicates, 10
have its sign: JFT over ImageNet by 1.0 AP on COCO, 5.0 AP@.5 on VOC 2007, 16.4
mIoU on VOC 2012, 2.3 OKS-AP of people; 36M steps over 12M by 1.4 AP. ImageNet's
labels alone are on par with all (Table 6), and 152 layers gain less over
ImageNet than 50 do (Figure 5). By size of pre-training:

                              1,000  3,000  10,000  30,000
    COCO AP, fine-tuned         0.5    0.5     0.7     2.3
    COCO AP, frozen             0.5    0.6     0.2     1.9
    VOC 2007 AP@.5, fine-tuned  2.7    2.4     4.3     9.6
    VOC 2012 mIoU, fine-tuned  18.7   17.2    19.3    33.0

Detectors of an AP of 2 show that the graph runs and which way it points, not
how much there is to gain.

Cost: 71 minutes on one core of an AMD EPYC without AVX-512 (24 GB) that other
work shared; TensorFlow 2.21, Keras 3.15.1.
"""

import argparse
import dataclasses
import pathlib
import tempfile

import matplotlib

matplotlib.use("Agg")

import paper_hours
from paper_settings import (
    IMAGENET_STEPS,
    SIZES,
    paper_settings,
    small_settings,
)

import keras_jft as jft

THREE = "ImageNet", "JFT", "ImageNet+JFT"
SMOKE = {"train": 20, "test": 20, "people": 10, "fasteval": 20}


def _of(benchmark, *pretrainings, mode="fine_tuned"):
    return [(benchmark, pretraining, mode) for pretraining in pretrainings]


# The arms of each table and figure: (benchmark, pre-training, mode).
SHOWN = {
    "table 1": _of("ImageNet", "random", "JFT"),
    "table 2": _of("COCO", *THREE),
    "table 3": _of("VOC 2007", *THREE),
    "table 4": _of("COCO", "JFT 12M steps", "JFT 24M steps", "JFT"),
    "table 5": _of(
        "COCO", *(f"ImageNet {n} steps" for n in IMAGENET_STEPS), "ImageNet"
    ),
    "table 6": _of("COCO", "JFT ImageNet's labels", "JFT 30M"),
    "table 7": _of("people", *THREE),
    "table 8": _of("ImageNet", "random", "JFT"),
    "table 9": _of("COCO", *THREE),
    "table 10": _of("VOC 2007", *THREE) + _of("VOC 2012", *THREE),
    "table 11": _of("COCO", *THREE),
    "table 12": _of("VOC 2012", *THREE),
    "table 13": _of("people", *THREE),
    "table 14": _of("COCO", *THREE),
    "figure 3": _of("COCO", "JFT", "ImageNet+JFT"),
    "figure 4": [
        arm
        for benchmark in ("COCO", "VOC 2007")
        for mode in ("fine_tuned", "frozen")
        for arm in _of(benchmark, *SIZES, mode=mode)
    ],
    "figure 5": _of(
        "COCO",
        *(f"{name} {n} layers" for n in (50, 152) for name in THREE[:2]),
        *THREE[:2],
    ),
    "figure 6": _of("VOC 2012", *THREE, *SIZES),
}


# === Running it ===


class Runner(jft.scaling.Runner):
    """Adds columns to rows, and looks for duplicates in JFT-300M alone."""

    def __init__(self, *arguments, jft_config, columns, **options):
        super().__init__(*arguments, **options)
        self.jft_config, self.columns = jft_config, columns

    def __call__(self, run):
        """Return the scores, and the columns of the arm."""
        (columns,) = [found for own, found in self.columns if own == run]
        scores = super().__call__(run)
        if "per_class" in scores:
            info = self.examples(run.evaluation).info
            columns |= {"class_names": info.mask_names or info.label_names}
        return {**scores, **columns}

    def duplicates(self, run):
        """Return the ids of evaluation images that JFT-300M has."""
        return super().duplicates(
            dataclasses.replace(run, pretrain=self.jft_config)
        )


def study(arguments, settings):
    """Do the arms that are asked for, or say what they take."""
    shown = {}
    for place in arguments.only:
        for arm in SHOWN[place]:
            shown.setdefault(arm, []).append(place)
    runs = settings.runs(arguments.seeds, shown)
    first = settings.pretrainings(arguments.seeds[0])["JFT"]
    output = arguments.output
    with jft.training.strategy(arguments.strategy).scope():
        runner = Runner(
            output / "backbones",
            verbose=0,
            shorter=[run.pretrain for run, _ in runs],
            monitor=settings.monitor,
            every=max(1, first.steps // 12),
            in_memory=settings.scale < 1,
            jft_config=first,
            columns=runs,
        )
        whole = jft.scaling.Study(
            [run for run, _ in runs], output / "rows.jsonl", run=runner
        )
        if arguments.dry_run:
            print(paper_hours.told(runs, whole, settings.scale == 1))
            return
        for benchmark in settings.benchmarks.values():
            check_ids(benchmark.evaluation)
            hold_out(benchmark)
        whole.run(arguments.executor)
    progress = output / "progress.jsonl"
    progress.unlink(missing_ok=True)
    for seed in arguments.seeds:
        for name, config in settings.pretrainings(seed).items():
            if name in ("JFT", "ImageNet+JFT"):
                for line in runner.log(config):
                    line = {"pretraining": name, "seed": seed, **line}
                    jft.scaling.append_row(progress, line)
    redraw(output)


def redraw(output):
    """Write the page of all tables and figures from rows alone."""
    progress = output / "progress.jsonl"
    page, _ = jft.scaling.paper_page(
        jft.scaling.read_rows(output / "rows.jsonl"),
        output / "paper.html",
        progress=(
            jft.scaling.read_rows(progress) if progress.exists() else None
        ),
    )
    print(f"Tables and figures: {page}")


def check_ids(config):
    """Raise `ValueError` unless the file of minival* ids exists."""
    path = config.options.get("ids")
    if path is not None and not pathlib.Path(path).is_file():
        raise ValueError(
            "Expected the ids of minival*, 8,000 images of COCO, one per line, "
            f"in {path!r}, which does not exist. Huang et al. 2017 published "
            "them with the TensorFlow Object Detection API, as "
            "object_detection/data/mscoco_minival_ids.txt; name it with "
            "`--minival`."
        )


def hold_out(benchmark):
    """Write which images learning rates are tried on, once."""
    if benchmark.rates and not pathlib.Path(benchmark.tried).exists():
        config = benchmark.transfer
        data = jft.data.load(config.dataset, config.split, **config.options)
        pathlib.Path(benchmark.tried).parent.mkdir(parents=True, exist_ok=True)
        jft.data.write_parts(
            benchmark.tried, data, jft.data.hold_out(data, {"tried": 0.1})
        )


# === The command line ===


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = pathlib.Path
    parser.add_argument("--jft", type=where, help="folder of records")
    parser.add_argument("--imagenet", type=where, help="has train/ and val/")
    parser.add_argument("--coco", type=where, help="2014 and 2017")
    parser.add_argument("--voc", type=where, help="has VOC2007/ and VOC2012/")
    parser.add_argument("--sbd", type=where, help="benchmark_RELEASE of SBD")
    parser.add_argument("--minival", type=where, help="ids of minival*")
    parser.add_argument("--labels", type=where, help="labels of ImageNet's")
    parser.add_argument("--person-boxes", type=where, help="detections of COCO")
    parser.add_argument("--scale", type=float, help="of made-up data")
    parser.add_argument("--only", nargs="+", choices=SHOWN, default=[*SHOWN])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    # Several workers would share the runs of a study instead of each run.
    strategies = "auto", "one_device", "mirrored", "parameter_server"
    parser.add_argument("--strategy", default="auto", choices=strategies)
    parser.add_argument("--executor", help="such as processes:8 or ray")
    parser.add_argument("--output", type=where, default="runs/paper")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--redraw", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    given = vars(arguments)
    needed = [n for n in ("jft", "imagenet", "coco", "voc") if not given[n]]
    made_up = arguments.smoke or arguments.redraw or arguments.scale
    if needed and not made_up:
        parser.error(f"needed: --{', --'.join(needed)}; or --scale or --smoke")
    if arguments.executor and arguments.strategy != "auto":
        # Its scope does not reach the workers, each of which has one device.
        parser.error("give either --strategy or --executor")
    if arguments.coco and not arguments.minival:
        folder = arguments.coco / "annotations"
        arguments.minival = folder / "mscoco_minival_ids.txt"
    return arguments


def main():
    arguments = _arguments()
    if arguments.redraw:
        redraw(arguments.output)
    elif arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            arguments.output = pathlib.Path(folder)
            arguments.only = ["table 1"]
            world, sizes = arguments.output / "world", dict(SMOKE)
            study(arguments, small_settings(world, 1e-6, sizes))
    elif arguments.scale:
        world = arguments.output / f"world_{arguments.scale:g}"
        study(arguments, small_settings(world, arguments.scale))
    else:
        study(arguments, paper_settings(arguments))


if __name__ == "__main__":
    main()
