"""Changed files are noticed by their number and bytes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from keras_jft.backbones import catalog
from keras_jft.scaling.study import fingerprints, study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    dataset: str = "image_folder"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    initial: str | None = None
    backbone: str | None = None
    backbone_options: Mapping[str, Any] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    pretrain: Config = Config()
    evaluation: Config = Config()
    num_examples: int = 1


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    for name, size in (("cat/a.jpg", 10), ("cat/b.jpg", 20), ("dog/a.jpg", 5)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return folder


def of(*options):
    parts = dict(zip(("pretrain", "evaluation"), options, strict=False))
    run = Run(**{name: Config(options=o) for name, o in parts.items()})
    return fingerprints.Fingerprints().of(run)


def counted(*options):
    found = of(*options)
    assert found.weights_digest is None
    return found[:2]


def test_files_and_bytes_of_all_that_is_read_are_counted(folder, tmp_path):
    assert counted({"directory": str(folder)}) == (3, 35)
    # Once, however often it is named.
    assert counted({"directory": folder}, {"directory": str(folder)}) == (3, 35)
    table = tmp_path / "labels.csv"
    table.write_text("1234")
    assert counted({"directory": folder, "path": str(table)}) == (4, 39)
    assert counted({"path": str(tmp_path / "*.csv")}) == (1, 4)


def test_what_has_no_files_has_no_fingerprint(folder, tmp_path):
    assert of({"num_examples": 3, "task": "photos"}) is None
    assert of({"directory": "gs://bucket/photos"}) is None
    assert of({"directory": str(tmp_path / "elsewhere")}) is None
    assert of({"hierarchy": {"names": {}}, "classes": ["cat"]}) is None


def test_presets_begin_as_those_of_the_catalog_do():
    assert fingerprints.HUB == catalog.HUB


def test_what_tools_and_studies_write_does_not_count(folder):
    for name in (
        *(".DS_Store", "Thumbs.db", "@eaDir/a.jpg", "rows.jsonl", "a.keras"),
        *(".ipynb_checkpoints/a.jpg", "rows.jsonl.claims"),
        *("lost+found/a.jpg", "ehthumbs.db", "thumbs.db"),
    ):
        path = folder / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"xyz")
    (folder / "cat" / "back").symlink_to(folder)
    assert counted({"directory": folder}) == (3, 35)
    # A class may be called so.
    (folder / "@cat").mkdir()
    (folder / "@cat" / "a.jpg").write_bytes(b"xyz")
    assert counted({"directory": folder}) == (4, 38)


@pytest.mark.parametrize(
    "named",
    [
        lambda path: {"initial": str(path)},
        lambda path: {"backbone": str(path)},
        lambda path: {"backbone": f"hub/{path.parent}"},
        lambda path: {"backbone_options": {"weights": path}},
    ],
    ids=["initial", "file", "preset", "weights"],
)
def test_weights_of_the_same_size_are_told_apart(named, folder, tmp_path):
    path = tmp_path / "nets" / "net.npz"

    def now(options):
        config = Config(options=options, **named(path))
        return fingerprints.Fingerprints().of(Run(pretrain=config))

    assert now({}) is None  # A name of something else.
    path.parent.mkdir()
    path.write_bytes(b"abc")
    data = {"directory": str(folder)}
    first, alone = now(data), now({})
    assert first[:2] == (3, 35) and alone[:2] == (0, 0)
    assert first.weights_digest == alone.weights_digest
    row = first.columns()
    assert not now(data).differs(row)
    path.write_bytes(b"abd")
    assert now(data)[:2] == (3, 35) and now(data).differs(row)
    # What a row does not say is taken for unchanged.
    del row["weights_digest"]
    assert not now(data).differs(row)


class Study(study.Study):
    """Counts its runs."""

    def __init__(self, path, folder, **options):
        self.seen = []
        configs = [
            Run(pretrain=Config(options={"directory": str(folder)}),
                num_examples=n) for n in (1, 2)
        ]  # fmt: skip
        super().__init__(configs, path, self.scores, **options)

    def scores(self, config):
        self.seen.append(config.num_examples)
        return {"top1": 0.5}


def test_runs_of_changed_files_are_done_again(folder, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    first = Study(path, folder).run()
    assert [(r["num_files"], r["file_bytes"]) for r in first] == [(3, 35)] * 2
    again = Study(path, folder)
    assert again.dry_run() == [] and again.rows() == first
    (folder / "dog" / "b.jpg").write_bytes(b"x")
    assert len(again.dry_run()) == 2 and again.rows() == []
    second = again.run()
    assert again.seen == [1, 2]
    assert [row["num_files"] for row in second] == [4, 4]
    # The files are in the identity of a run, not in its key.
    assert [r["key"] for r in first] == [r["key"] for r in second]
    assert "Repeated: 2 runs, since" in " ".join(
        capsys.readouterr().err.split()
    )
    assert again.dry_run() == []


def test_rows_that_say_nothing_of_files_stay_valid(folder, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    Study(path, "elsewhere").run()
    assert "num_files" not in path.read_text()
    old = path.read_text().replace('"elsewhere"', '"x"')
    study_ = Study(path, folder)
    for key in study_._keys:
        old += f'{{"key": "{key}", "top1": 0.5}}\n'
    path.write_text(old)
    assert len(study_.run()) == 2 and study_.seen == []
    said = " ".join(capsys.readouterr().err.split())
    assert "2 rows without the number of files that were read" in said
