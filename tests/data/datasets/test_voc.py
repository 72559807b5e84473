"""VOC as a data set: years, lists, difficult objects, TFDS."""

import fuzzing
import numpy as np
import pytest

from keras_jft import data as jft_data

DOG, CAT = ("dog", (2, 3, 5, 8), 0), ("cat", (1, 1, 2, 2), 1)


@pytest.fixture
def folder(save_voc, save_list, tmp_path):
    """Three images of 2007 and one of 2012; a test of 2007 with a cow."""
    save_voc("000005", [DOG, CAT], value=5)
    save_voc("000003", [], value=3)
    save_voc("000001", [("cow", (1, 1, 3, 3), 0)], value=1)
    save_voc("2008_000001", [CAT], "VOC2012", value=8)
    save_list("trainval", ["000005", "000003"])
    save_list("trainval", ["2008_000001"], "VOC2012")
    save_list("test", ["000001"])
    return tmp_path


def test_years_unite_in_the_order_of_their_lists(folder, brightness):
    data = jft_data.load("voc", "trainval", directory=folder)
    ids = ["000005", "000003", "2008_000001"]
    assert data.ids(np.arange(3)).tolist() == ids
    assert [brightness(data[i]) for i in range(3)] == [5, 3, 8]
    # Names of all files, also those of other lists.
    assert data.info.label_names == ("cat", "cow", "dog")
    assert data.info.class_counts.tolist() == [2, 0, 1]
    entry = data[0]["bounding_boxes"]
    assert entry["boxes"].tolist() == [[1, 2, 5, 8], [0, 0, 2, 2]]
    assert entry["labels"].tolist() == [2, 0]
    assert entry["ignored"].tolist() == [False, True]
    assert len(data[1]["bounding_boxes"]["labels"]) == 0


def test_a_year_or_a_folder_can_be_chosen(folder):
    by_year = jft_data.load("voc", "trainval", directory=folder, years=(2012,))
    assert by_year.ids([0]).tolist() == ["2008_000001"]
    inside = jft_data.load("voc", "test", directory=folder / "VOC2007")
    assert inside.ids([0]).tolist() == ["000001"]
    with pytest.raises(ValueError, match=r"VOC2012.*test\.txt' is missing"):
        jft_data.load("voc", "test", directory=folder, years=(2007, 2012))


def test_names_can_be_given(folder):
    names = ["dog", "person", "cat"]
    options = {"directory": folder, "label_names": names}
    with pytest.warns(UserWarning, match=r"1 of 3 .* 'person'\. Check `label_"):
        data = jft_data.load("voc", "trainval", **options)
    assert data[0]["bounding_boxes"]["labels"].tolist() == [0, 2]
    # Of a test set nothing is known.
    jft_data.load("voc", "trainval", annotated=False, **options)
    with pytest.raises(ValueError, match=r"'000001'.*Received: \['cow'\]"):
        jft_data.load("voc", "test", directory=folder, label_names=names)


def test_bad_folders_and_lists_are_clear_errors(folder, save_list):
    with pytest.raises(ValueError, match=r"Main/val\.txt.*'test', 'trainval'"):
        jft_data.load("voc", "val", directory=folder)
    with pytest.raises(ValueError, match="Pass `directory`"):
        jft_data.load("voc")
    save_list("dog_trainval", ["000005  1", "000003 -1"])
    with pytest.raises(ValueError, match="one name per line.*'000005 1'"):
        jft_data.load("voc", "dog_trainval", directory=folder)
    save_list("val", ["000005", "000006"])
    with pytest.raises(ValueError, match=r"1 of 2: \['000006'\]"):
        jft_data.load("voc", "val", directory=folder)


def test_a_list_is_read_as_tools_write_it(save_voc, save_list, tmp_path):
    for value, name in enumerate(("photo 1", "photo (2)", "caf\u00e9", "b")):
        save_voc(name, [DOG], value=value)
    path = tmp_path / "VOC2007/ImageSets/Main/train.txt"
    save_list("train", [])
    lines = "photo 1\r\nphoto (2)\r\n\r\ncafe\u0301\r\nb.png\r\n\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    data = jft_data.load("voc", "train", directory=tmp_path)
    names = ["photo 1", "photo (2)", "caf\u00e9", "b"]
    assert data.ids(range(4)).tolist() == names
    assert [int(data[i]["images"].max()) for i in range(4)] == [0, 1, 2, 3]
    # "photo 1" may also be the image "photo", which has the class.
    save_voc("photo", [DOG])
    save_list("train", ["photo  1", "b -1"])
    with pytest.raises(
        ValueError, match=r"'photo 1' in line 1\. The list of one"
    ):
        jft_data.load("voc", "train", directory=tmp_path)
    save_list("train", ["b", "b.png"])
    with pytest.raises(ValueError, match=r"each once.*'b\.png' in line 2"):
        jft_data.load("voc", "train", directory=tmp_path)
    save_list("train", [""])
    with pytest.raises(ValueError, match=r"train\.txt'.*Received: none"):
        jft_data.load("voc", "train", directory=tmp_path)


def test_images_may_lie_in_sub_folders_as_cvat_writes_them(
    save_voc, save_list, tmp_path
):
    lines = ("train/i1", "JPEGImages/train/i2.png", "i3", "JPEGImages/i4.png")
    names = ["train/i1", "train/i2", "i3", "i4"]
    (tmp_path / "VOC2007/Annotations/train").mkdir(parents=True)
    for value, name in enumerate(names):
        save_voc(name, [DOG if value else CAT], value=value)
    save_list("train", lines)
    data = jft_data.load("voc", "train", directory=tmp_path)
    assert data.ids(range(4)).tolist() == names
    assert [int(data[i]["images"].max()) for i in range(4)] == [0, 1, 2, 3]
    # The class of a sub-folder alone is one, too.
    assert data.info.label_names == ("cat", "dog")


def test_annotations_beside_images_are_told(save_voc, tmp_path):
    path = save_voc("a", [DOG])
    (tmp_path / "roboflow/train").mkdir(parents=True)
    path.rename(tmp_path / "roboflow/train/a.xml")
    with pytest.raises(
        ValueError, match="train' has annotations beside images"
    ):
        jft_data.load("voc", "train", directory=tmp_path / "roboflow")


def test_of_two_images_of_one_name_the_annotation_or_the_list_chooses(
    save_voc, save_image, save_list, tmp_path, brightness
):
    path = save_voc("a", [DOG], value=1)
    save_image("VOC2007/JPEGImages/a.bmp", 2, size=(8, 10))
    save_list("train", ["a"])
    with pytest.raises(ValueError, match=r"'a'.*\['a\.bmp', 'a\.png'\]"):
        jft_data.load("voc", "train", directory=tmp_path)
    text = path.read_text()
    for name, value in (("C:\\photos\\a.bmp", 2), ("a.png", 1)):
        said = f"<annotation><filename>{name}</filename>"
        path.write_text(text.replace("<annotation>", said))
        data = jft_data.load("voc", "train", directory=tmp_path)
        assert brightness(data[0]) == value
    save_list("train", ["a.bmp"])
    data = jft_data.load("voc", "train", directory=tmp_path)
    assert brightness(data[0]) == 2
    data = jft_data.load("voc", "train", directory=tmp_path, annotated=False)
    assert brightness(data[0]) == 2 and data[0]["ids"] == "a"


def test_mutated_lists_are_read_or_refused_by_name(folder):
    path = folder / "VOC2007/ImageSets/Main/trainval.txt"
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        path.write_bytes(fuzzing.mutated_bytes(content, rng))
        try:
            data = jft_data.load(
                "voc", "trainval", directory=folder / "VOC2007"
            )
        except ValueError as error:
            refused += 1
            assert "VOC2007" in str(error) and len(str(error)) < 800
        else:
            assert 1 <= len(data) <= 2
    assert 150 < refused < 300


def test_faulty_objects_are_raised_or_dropped(folder, save_voc):
    save_voc("000001", [("cow", (5, 1, 3, 3), 0), ("cow", (1, 1, 3, 3), 0)])
    with pytest.raises(ValueError, match=r"000001\.xml.*on_error='drop'"):
        jft_data.load("voc", "test", directory=folder)
    with pytest.warns(UserWarning, match="Left out 1 annotation"):
        data = jft_data.load("voc", "test", directory=folder, on_error="drop")
    assert len(data[0]["bounding_boxes"]["labels"]) == 1


def test_a_test_set_has_no_boxes(folder):
    (folder / "VOC2007/Annotations/000001.xml").unlink()
    data = jft_data.load("voc", "test", directory=folder, annotated=False)
    assert data[0].keys() == {"images", "ids"}
    assert data[0]["images"].shape == (8, 10, 3)


def test_years_that_share_images_are_refused(folder, save_voc, save_list):
    save_voc("000005", [DOG], "VOC2012")
    save_list("trainval", ["000005"], "VOC2012")
    with pytest.raises(ValueError, match="1 repeated name in.*Pass `years`"):
        jft_data.load("voc", "trainval", directory=folder)


@pytest.mark.parametrize("names", ["cat", {"cat", "cow"}, ["cat", "cat"]])
def test_label_names_are_a_list_with_each_name_once(folder, names):
    with pytest.raises(ValueError, match="`label_names` must"):
        jft_data.load("voc", "test", directory=folder, label_names=names)


def test_a_folder_without_any_object_is_warned_of(
    save_voc, save_list, tmp_path
):
    save_voc("1", [])
    save_list("train", ["1"])
    with pytest.warns(UserWarning, match="No image of 'train' .* no classes"):
        data = jft_data.load("voc", "train", directory=tmp_path)
    assert data.info.label_names == ()
