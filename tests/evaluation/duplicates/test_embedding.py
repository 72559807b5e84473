"""A pass over a data set is whole, resumed, or refused."""

import keras
import numpy as np
import pytest
from PIL import ExifTags, Image

import keras_jft as jft
from keras_jft.data.datasets import Dataset, Info
from keras_jft.evaluation import duplicates
from keras_jft.evaluation.duplicates import embedding


class _Numbers(Dataset):
    """Images of random pixels; one may be unreadable, ids may repeat."""

    def __init__(self, count=23, broken=None, ids=None):
        self.info = Info(num_examples=count)
        self.broken, self.reads = broken, 0
        self._ids = np.arange(count) + 500 if ids is None else ids

    def ids(self, positions):
        return self._ids[np.asarray(positions)]

    def __getitem__(self, position):
        if position == self.broken:
            raise ValueError("cut off")
        self.reads += 1
        pixels = np.random.default_rng(position).integers(0, 256, (8, 8, 3))
        return {
            "images": pixels.astype("uint8"),
            "ids": int(self._ids[position]),
        }


@pytest.fixture(scope="module")
def model():
    """Means of three channels, of an 8 px image."""
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Rescaling(1 / 255)(inputs))


def _expected(data):
    rows = np.stack([data[i]["images"].mean((0, 1)) for i in range(len(data))])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_embeddings_are_pooled_and_of_length_one(tmp_path, model):
    data = _Numbers()
    found = duplicates.embed(model, data, tmp_path, batch_size=4, shard_size=10)
    assert len(found) == 23
    assert [len(rows) for _, rows in found] == [10, 10, 3]
    ids, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    np.testing.assert_array_equal(ids, data.ids(np.arange(23)))
    np.testing.assert_allclose(rows, _expected(data), atol=1e-5)
    assert found.starts == [0, 10, 20]


def test_an_interrupted_pass_goes_on_where_it_stopped(
    tmp_path, model, monkeypatch
):
    data, write = _Numbers(), embedding.archive.write

    def killed(path, *args):
        if path.name.startswith("000001"):
            raise KeyboardInterrupt
        write(path, *args)

    monkeypatch.setattr(embedding.archive, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        duplicates.embed(model, data, tmp_path, batch_size=4, shard_size=10)
    with pytest.raises(ValueError, match="1 of 3 shards"):
        embedding.Embeddings(tmp_path)
    monkeypatch.undo()
    data.reads = 0
    resumed = duplicates.embed(
        model, data, tmp_path, batch_size=4, shard_size=10
    )
    assert data.reads == 13
    rows = np.concatenate([rows for _, rows in resumed])
    np.testing.assert_allclose(rows, _expected(data), atol=1e-5)


def test_a_torn_file_of_a_kill_is_no_shard(tmp_path, model):
    (tmp_path / ".partial-0-000000-000010.npz").write_bytes(b"half")
    (tmp_path / "._000000-000010.npz").write_bytes(b"of another system")
    found = duplicates.embed(
        model, _Numbers(), tmp_path, batch_size=4, shard_size=10
    )
    assert len(found) == 23


def test_several_processes_make_their_shards(tmp_path, model):
    options = {"batch_size": 4, "shard_size": 10}
    data = _Numbers()
    first = duplicates.embed(model, data, tmp_path, part=(0, 2), **options)
    assert first is None
    whole = duplicates.embed(model, data, tmp_path, part=(1, 2), **options)
    assert len(whole) == 23


def test_a_damaged_shard_is_noticed(tmp_path, model):
    found = duplicates.embed(
        model, _Numbers(), tmp_path, batch_size=4, shard_size=10
    )
    path = found.shards[1].path
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        list(found)


def test_an_unreadable_image_has_no_embedding(tmp_path, model):
    data = _Numbers(broken=12)
    with pytest.raises(ValueError, match="cannot be read"):
        duplicates.embed(model, data, tmp_path, batch_size=4, shard_size=10)
    with pytest.warns(UserWarning, match="Skipped"):
        found = duplicates.embed(
            model, data, tmp_path, batch_size=4, shard_size=10, tolerate=1
        )
    assert len(found) == 22
    assert found.starts == [0, 10, 19]


def test_embeddings_of_something_else_are_refused(tmp_path, model):
    options = {"batch_size": 4, "shard_size": 10}
    duplicates.embed(model, _Numbers(), tmp_path, **options)
    with pytest.raises(ValueError, match="embeddings of something.*`data` is"):
        duplicates.embed(model, _Numbers(24), tmp_path, **options)
    other = keras.Sequential([model, keras.layers.Conv2D(3, 1)])
    with pytest.raises(ValueError, match="`model` is"):
        duplicates.embed(other, _Numbers(), tmp_path, **options)


def test_zero_embeddings_and_repeated_ids_are_refused(tmp_path, model):
    dark = keras.Model(model.input, keras.layers.Rescaling(0.0)(model.output))
    with pytest.raises(ValueError, match="length 0 for 500"):
        duplicates.embed(dark, _Numbers(), tmp_path / "dark", batch_size=4)
    twice = _Numbers(ids=np.array([3, 3] + list(range(21))))
    with pytest.raises(ValueError, match="more than once"):
        duplicates.embed(model, twice, tmp_path / "twice", batch_size=4)


def test_a_folder_without_embeddings_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Make them with `embed`"):
        embedding.Embeddings(tmp_path)


def test_planted_copies_in_the_synthetic_world_are_found(tmp_path):
    """By thumbnails: recall and precision of 0.95 after mild edits."""
    options = {"num_examples": 120, "image_size": 32}
    train = jft.data.load("synthetic", **options)
    test = jft.data.load("synthetic", split="test", **options)
    model, found = duplicates.thumbnails(), {}
    references = duplicates.embed(model, train, tmp_path / "train")
    queries = {
        name: duplicates.Copies(jft.data.subset(train, 40), name)
        for name in ("jpeg", "resize", "flip")
    }
    for name, data in {**queries, "new": test}.items():
        rows = duplicates.embed(model, data, tmp_path / name)
        found[name] = duplicates.find(rows, references)
    right = np.concatenate(
        [found[name].best_ids == found[name].ids for name in queries]
    )
    copies = np.concatenate([found[name].similarity for name in queries])
    assert right.mean() >= 0.95
    result = duplicates.calibrate(copies[right], found["new"].similarity)
    assert result.recall * right.mean() >= 0.95


def test_a_damaged_manifest_is_named(tmp_path, model):
    data = _Numbers()
    duplicates.embed(model, data, tmp_path, batch_size=4, shard_size=10)
    path = tmp_path / "manifest.json"
    good = path.read_text()
    for text in (
        "[1]", "null", good[:-9], "[" * 100_000,
        good.replace('"shard_size": 10', '"shard_size": 0'),
        good.replace("num_examples", "num_exampleS"),
    ):  # fmt: skip
        assert text != good
        path.write_text(text)
        with pytest.raises(ValueError, match=r"manifest\.json'") as error:
            embedding.Embeddings(tmp_path)
        assert type(error.value) is ValueError


def test_a_turned_photo_is_a_duplicate_of_its_upright_copy(tmp_path, rng):
    """A camera's file and its copy that a program has turned."""
    upright = rng.integers(0, 256, (3, 6, 8, 3), "uint8")
    exif = Image.Exif()
    for number, pixels in enumerate(upright):
        for part in ("queries", "references"):
            (tmp_path / part / "x").mkdir(parents=True, exist_ok=True)
        path = f"x/{number}.png"
        Image.fromarray(pixels).save(tmp_path / "references" / path)
        # Orientation 6: to be shown turned by a quarter clockwise.
        exif[ExifTags.Base.Orientation] = 6
        stored = Image.fromarray(np.rot90(pixels))
        stored.save(tmp_path / "queries" / path, exif=exif)
    inputs = keras.Input((6, 8, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    model = keras.Model(inputs, keras.layers.Flatten()(scaled))
    rows = []
    for part in ("queries", "references"):
        data = jft.data.load("image_folder", None, directory=tmp_path / part)
        found = duplicates.embed(model, data, tmp_path / f"{part}.embedded")
        rows.append(np.concatenate([part for _, part in found]))
        shown = np.stack([example["images"] for example in data])
        np.testing.assert_array_equal(shown, upright)
    found = duplicates.find(*rows, 0.999)
    assert found.best.tolist() == [0, 1, 2]
    assert found.is_duplicate.all()


def test_a_function_among_the_transforms_is_known_by_name_in_any_process(
    tmp_path, model
):
    def made_again():  # As in another process, at another address.
        def darker(example, rng):
            return {**example, "images": example["images"] // 2}

        def lighter(example, rng):
            return {**example, "images": 255 - example["images"] // 2}

        return darker, lighter

    def embedded(transform):
        return duplicates.embed(
            model, _Numbers(), tmp_path, transforms=[transform], batch_size=4
        )

    (darker, _), (again, lighter) = made_again(), made_again()
    assert darker is not again
    assert len(embedded(darker)) == len(embedded(again)) == 23
    assert " at 0x" not in (tmp_path / "manifest.json").read_text()
    with pytest.raises(ValueError, match="of something else: `transforms`"):
        embedded(lighter)
