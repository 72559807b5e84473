"""The settings of `paper.py`: those of the paper, and small ones.

`Settings.pretrainings` and `Settings.runs` make the same graph of both.
"""

import dataclasses

import paper_world

import keras_jft as jft
from keras_jft.data.transforms import RandomFlip, Resize

M, K = 1_000_000, 1_000
SIZES = "JFT 10M", "JFT 30M", "JFT 100M", "JFT"
IMAGENET_STEPS = {"100K": 100 * K, "200K": 200 * K, "400K": 400 * K}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A task to transfer to.

    Attributes:
        transfer: Fine-tuning.
        evaluation: How it is measured.
        frozen: What differs where conv1 to conv4 are frozen.
        from_random: What differs without pre-training.
        rates: Learning rates that each arm chooses from.
        tried: The file of the images that rates are tried on: see `hold_out`.
    """

    transfer: jft.transfer.Config
    evaluation: jft.evaluation.Config
    frozen: dict = dataclasses.field(default_factory=dict)
    from_random: dict = dataclasses.field(default_factory=dict)
    rates: tuple[float, ...] = ()
    tried: str = ""

    def run(self, pretrain, mode, name):
        """Return the `jft.scaling.Run` of an arm."""
        transfer = dataclasses.replace(
            self.transfer,
            mode=mode,
            seed=pretrain.seed,
            **(self.frozen if mode == "frozen" else {}),
            **(self.from_random if pretrain.num_examples == 0 else {}),
        )
        search = None
        if self.rates:
            parts = {"path": self.tried, "of": transfer.split}
            options = {"options": {**transfer.options, "parts": parts}}
            search = jft.scaling.RateSearch(
                rates=self.rates,
                transfer=dataclasses.replace(
                    transfer, split="train", **options
                ),
                evaluation=dataclasses.replace(
                    self.evaluation, split="tried", **options
                ),
            )
        return jft.scaling.Run(
            pretrain=pretrain,
            transfer=transfer,
            evaluation=self.evaluation,
            arm=name,
            search=search,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of every arm: the paper's, or smaller ones.

    Attributes:
        jft: Pre-training on JFT-300M.
        imagenet: Pre-training on ImageNet.
        benchmarks: `Benchmark`s by name.
        layers: Residual blocks by the number of layers.
        labels: A file with the labels of JFT-300M that ImageNet has, too.
        scale: By which images and steps of JFT-300M are multiplied.
        imagenet_scale: By which those of ImageNet are.
        monitor: How pre-training is measured on the way.
    """

    jft: jft.pretrain.Config
    imagenet: jft.pretrain.Config
    benchmarks: dict[str, Benchmark]
    layers: dict[int, tuple[int, ...]]
    labels: str
    monitor: jft.evaluation.Config
    scale: float = 1.0
    imagenet_scale: float = 1.0

    def pretrainings(self, seed):
        """Return `{name: config}` of all pre-trainings."""
        from_jft = dataclasses.replace(
            self.jft,
            seed=seed,
            num_examples=self._size(300 * M),
            steps=self._jft(36 * M),
            decay_steps=self._jft(3 * M),
        )
        imagenet = dataclasses.replace(
            self.imagenet,
            seed=seed,
            steps=self._imagenet(5 * M),
            decay_steps=self._imagenet(1_200 * K),
        )
        change = dataclasses.replace
        # Four epochs of a part: as many steps of 32 images as images / 8.
        parts = {
            f"JFT {size}M": change(
                from_jft,
                num_examples=self._size(size * M),
                steps=self._jft(size * M // 8),
            )
            for size in (10, 30, 100)
        }
        only = {**from_jft.options, "only_labels": self.labels}
        found = {
            "JFT": from_jft,
            "ImageNet": imagenet,
            "ImageNet+JFT": change(from_jft, initial=imagenet),
            **parts,
            "JFT ImageNet's labels": change(parts["JFT 30M"], options=only),
            "random": change(from_jft, num_examples=0),
        }
        for steps in (12, 24):
            found[f"JFT {steps}M steps"] = change(
                from_jft, steps=self._jft(steps * M)
            )
        for name, steps in IMAGENET_STEPS.items():
            found[f"ImageNet {name} steps"] = change(
                imagenet, steps=self._imagenet(steps)
            )
        for layers in (50, 152):
            for name in ("JFT", "ImageNet"):
                found[f"{name} {layers} layers"] = change(
                    found[name], blocks=self.layers[layers]
                )
        return found

    def _size(self, images):
        return max(self.jft.batch_size, round(images * self.scale))

    def _jft(self, steps):
        return max(1, round(steps * self.scale))

    def _imagenet(self, steps):
        return max(1, round(steps * self.imagenet_scale))

    def runs(self, seeds, shown):
        """Return `[(run, columns of its row)]`, long pre-trainings first.

        Args:
            seeds: Seeds of every arm.
            shown: `{(benchmark, pre-training, mode): places}`, the tables and
                figures that an arm is shown in.
        """
        runs = []
        for seed in seeds:
            pretrainings = self.pretrainings(seed)
            for (benchmark, name, mode), places in shown.items():
                config = pretrainings[name]
                # Sizes are points of one curve; all else tells arms apart.
                curve = "JFT" if name in SIZES else name
                run = self.benchmarks[benchmark].run(
                    config, mode, f"{benchmark}, {curve}"
                )
                layers = int(name.split()[1]) if "layers" in name else 101
                columns = {
                    "benchmark": benchmark,
                    "pretraining": name,
                    "layers": layers,
                    "shown_in": places,
                }
                runs.append((run, columns))
        # The starts of a long pre-training are kept on its way.
        return sorted(runs, key=lambda pair: -(pair[0].pretrain.steps or 0))


# === The paper's settings ===


def paper_settings(arguments):
    """Return the `Settings` of sections 4 and 5, on the user's data."""
    coco = {"directory": str(arguments.coco)}
    ids = str(arguments.minival)
    voc = {"directory": str(arguments.voc)}
    sbd = str(arguments.sbd or arguments.voc / "benchmark_RELEASE")
    imagenet = {"directory": str(arguments.imagenet)}
    records = {"directory": str(arguments.jft)}
    recipes = jft.transfer.RECIPES
    detector = recipes["faster_rcnn"]
    frozen = {
        name: getattr(detector["coco_frozen"], name)
        for name in ("boundaries", "steps")
    }
    finetune = recipes["classification"]["imagenet_finetune"]
    baseline = recipes["classification"]["imagenet"]
    change = dataclasses.replace
    people = recipes["pose"]["coco"]
    detections = arguments.person_boxes and str(arguments.person_boxes)
    benchmarks = {
        "ImageNet": Benchmark(
            transfer=change(finetune, options=imagenet, split="train"),
            evaluation=jft.evaluation.Config(
                dataset="image_folder",
                options=imagenet,
                split="val",
                transforms="jft",
                batch_size=32,
            ),
            from_random={
                name: getattr(baseline, name)
                for name in ("learning_rate", "steps")
            },
        ),
        "COCO": Benchmark(
            transfer=change(detector["coco"], options={**coco, "exclude": ids}),
            evaluation=jft.evaluation.Config(
                dataset="coco",
                options={**coco, "ids": ids},
                split="val2014",
                transforms="detection",
                batch_size=1,
            ),
            frozen=frozen,
        ),
        "VOC 2007": Benchmark(
            transfer=change(
                detector["voc"], options={**voc, "years": (2007, 2012)}
            ),
            evaluation=jft.evaluation.Config(
                dataset="voc",
                options={**voc, "years": (2007,)},
                transforms="detection",
                batch_size=1,
            ),
        ),
        "VOC 2012": Benchmark(
            transfer=change(
                recipes["deeplab_aspp"]["voc2012"], options={**voc, "sbd": sbd}
            ),
            evaluation=jft.evaluation.Config(
                dataset="voc_segmentation",
                options=voc,
                split="val",
                transforms=(Resize((513, 513)),),
                batch_size=6,
            ),
        ),
        "people": Benchmark(
            transfer=change(people, options=coco),
            evaluation=jft.evaluation.Config(
                dataset="coco_people",
                options={**coco, "detections": detections},
                split="val2017",
                transforms="pose",
                batch_size=24,
            ),
            rates=tuple(people.learning_rate * f for f in (0.5, 1, 2)),
            tried=str(arguments.output / "people.jsonl"),
        ),
    }
    pretraining = jft.pretrain.RECIPES
    return Settings(
        jft=change(
            pretraining["jft300m"], options=records, epochs=None, steps=1
        ),
        imagenet=change(
            pretraining["imagenet"], options=imagenet, num_examples=1_281_167
        ),
        benchmarks=benchmarks,
        layers={50: (3, 4, 6, 3), 152: (3, 8, 36, 3)},
        labels=str(arguments.labels or arguments.jft / "imagenet_labels.txt"),
        monitor=jft.evaluation.Config(
            task="multi_label",
            dataset="records",
            options=records,
            split="fasteval",
            transforms="jft",
            map_weights="train",
        ),
    )


# === Small settings, on made-up images ===


def small_settings(folder, scale, sizes=None):
    """Return the `Settings` of the synthetic world, after writing it.

    Args:
        folder: Where its files are.
        scale: By which the paper's numbers are multiplied.
        sizes: Images per split, as `paper_world.SIZES`.
    """
    sizes = {**paper_world.SIZES, **(sizes or {})}
    world = paper_world.World(
        folder=folder,
        jft_images=max(64, round(300 * M * scale)),
        imagenet_images=max(2 * sizes["train"], round(1_281_167 * scale)),
        sizes=sizes,
    )
    world.write()
    side = (paper_world.SIDE,) * 2
    coco, voc = str(folder / "coco"), str(folder / "voc")
    ids = f"{coco}/annotations/mscoco_minival_ids.txt"
    change, recipes = dataclasses.replace, jft.transfer.RECIPES
    shown = (Resize(side), RandomFlip())
    detector = change(
        recipes["faster_rcnn"]["small"],
        transforms=shown,
        learning_rate=0.01,
        epochs=None,
        steps=120,
    )
    measured = jft.evaluation.Config(transforms=(Resize(side),), batch_size=20)
    imagenet = {"directory": str(folder / "imagenet")}
    records = {"directory": str(folder / "jft")}
    benchmarks = {
        "ImageNet": Benchmark(
            transfer=jft.transfer.Config(
                dataset="image_folder",
                options=imagenet,
                learning_rate=0.02,
                epochs=8,
            ),
            evaluation=jft.evaluation.Config(
                dataset="image_folder", options=imagenet, split="val"
            ),
        ),
        "COCO": Benchmark(
            transfer=change(
                detector,
                dataset="coco",
                options={"directory": coco, "exclude": ids},
                split="train2014+val2014",
            ),
            evaluation=change(
                measured,
                dataset="coco",
                options={"directory": coco, "ids": ids},
                split="val2014",
            ),
        ),
        "VOC 2007": Benchmark(
            transfer=change(
                detector,
                dataset="voc",
                options={"directory": voc, "years": (2007, 2012)},
                split="trainval",
            ),
            evaluation=change(
                measured,
                dataset="voc",
                options={"directory": voc, "years": (2007,)},
            ),
        ),
        "VOC 2012": Benchmark(
            transfer=jft.transfer.Config(
                head="deeplab_aspp",
                head_options={"output_stride": 4, "rates": (1, 2, 4, 6)},
                dataset="voc_segmentation",
                options={"directory": voc},
                split="trainaug",
                transforms=shown,
                image_size=side,
                learning_rate=0.03,
                batch_size=8,
                epochs=None,
                steps=150,
            ),
            evaluation=change(
                measured,
                dataset="voc_segmentation",
                options={"directory": voc},
                split="val",
            ),
        ),
        "people": Benchmark(
            transfer=change(
                recipes["pose"]["small"],
                dataset="coco_people",
                options={"directory": coco},
                split="train2017",
                batch_size=16,
                epochs=None,
                steps=150,
            ),
            evaluation=jft.evaluation.Config(
                dataset="coco_people",
                options={"directory": coco},
                split="val2017",
                transforms="pose_small",
                batch_size=20,
            ),
            rates=(0.002, 0.005, 0.01),
            tried=str(folder / "people.jsonl"),
        ),
    }
    pretrain = jft.pretrain.Config(
        dataset="records",
        options=records,
        schedule="staircase",
        learning_rate=0.03,
        blocks=(1, 1, 2, 1),
        batch_size=32,
        epochs=None,
        steps=1,
    )
    return Settings(
        jft=pretrain,
        imagenet=change(
            pretrain,
            dataset="image_folder",
            options=imagenet,
            num_examples=world.imagenet_images,
            loss="softmax",
            decay_rate=0.1,
        ),
        benchmarks=benchmarks,
        layers={50: (1, 1, 1, 1), 152: (1, 2, 3, 1)},
        labels=str(folder / "imagenet_labels.txt"),
        monitor=jft.evaluation.Config(
            task="multi_label",
            dataset="records",
            options=records,
            split="fasteval",
            batch_size=100,
            map_weights="train",
        ),
        scale=scale,
        # Of "ImageNet" there are more images than its share, or none.
        imagenet_scale=2 * scale,
    )
