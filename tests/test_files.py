"""Names of tools' files, and what is not a path."""

import pytest

import keras_jft as jft
from keras_jft.evaluation import duplicates, poses
from keras_jft.files import is_tool_name


@pytest.mark.parametrize(
    "name, expected",
    [
        ("._a.jpg", True), (".DS_Store", True), ("Thumbs.db", True),
        ("__MACOSX", True), ("@eaDir", True), ("desktop.ini", True),
        ("@cat", False), ("a.jpg", False), ("thumbs", False),
    ],
)  # fmt: skip
def test_tools_are_known_by_their_names(name, expected):
    assert is_tool_name(name) == expected


# Every public function that takes a path, as a function of the path alone.
DOORS = {
    "read_rows": jft.scaling.read_rows,
    "append_row": lambda path: jft.scaling.append_row(path, {"top1": 0.5}),
    "Study": lambda path: jft.scaling.Study([], path, run=print),
    "report": lambda path: jft.scaling.report(
        [{"num_examples": n, "score": n / 9999} for n in (10, 100, 1000)], path
    ),
    "Runner": lambda path: jft.scaling.Runner(path),
    "write_records": lambda path: jft.data.write_records([], path),
    "write_ids": lambda path: jft.data.write_ids([], path),
    "read_ids": lambda path: jft.data.read_ids(path),
    "Checkpoint": lambda path: jft.training.Checkpoint(path),
    "loggers": lambda path: jft.training.loggers(path, batch_size=4),
    "JSONLogger": lambda path: jft.training.JSONLogger(path),
    "read_log": lambda path: jft.training.read_log(path),
    "load_weights": lambda path: jft.training.load_weights(None, path),
    "backbones.load": lambda path: jft.backbones.load(path),
    "from_json": lambda path: jft.data.LabelHierarchy.from_json(path),
    "from_open_images": (
        lambda path: jft.data.LabelHierarchy.from_open_images(path)
    ),
    "embed": lambda path: duplicates.embed(None, None, path),
    "Embeddings": duplicates.Embeddings,
    "save_results": lambda path: poses.save_results(path, [], []),
    "save_detections": (
        lambda path: jft.evaluation.save_detections(path, None, None)
    ),
    **{
        f"load {name}": (
            lambda path, name=name, option=option, more=more: jft.data.load(
                name, "train", **{option: path}, **more
            )
        )
        for name, option, more in (
            ("image_folder", "directory", {}),
            ("manifest", "path", {}),
            ("records", "directory", {}),
            ("parquet", "path", {}),
            ("mask_folder", "directory", {"classes": ["a", "b"]}),
            ("camvid", "directory", {}),
            ("coco", "directory", {}),
            ("coco_people", "directory", {}),
            ("voc", "directory", {}),
            ("voc_segmentation", "directory", {}),
            ("webdataset", "urls", {"label_names": ["a", "b"]}),
            ("open_images", "directory", {"labels": "a.csv"}),
        )
    },
}


@pytest.mark.parametrize("given", [None, 3, b"a.jsonl"], ids=repr)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_not_a_path_is_told_in_a_sentence(door, given):
    with pytest.raises(ValueError, match="Received") as error:
        DOORS[door](given)
    assert repr(given) in str(error.value) or given is None


def test_a_run_is_told_of_a_wrong_path_when_its_config_is_made():
    with pytest.raises(ValueError, match="`directory` must be a path"):
        jft.pretrain.Config(
            dataset="image_folder", options={"directory": ["photos"]}
        )
