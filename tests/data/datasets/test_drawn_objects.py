"""labelImg, YOLO, labelme and CVAT: what was drawn is what is read."""

import json

import numpy as np
import pytest
import small_data_sets

from keras_jft.data.datasets import load

# Files here are too short for all of their classes.
pytestmark = pytest.mark.filterwarnings("ignore:.* classes occurs? in no ")


@pytest.fixture
def image(save_image):
    """`image(path)`: an image of 8 x 10 pixels."""
    return lambda path: save_image(path, 7, size=(8, 10))


@pytest.fixture
def save_yolo(tmp_path, image):
    """`save_yolo(lines, **more)`: one image, its lines, and `data.yaml`."""

    def save(lines, train="images/train", **more):
        image("images/train/a.png")
        path = tmp_path / "labels" / "train" / "a.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        about = {"train": train, "names": ["cat", "dog"], **more}
        (tmp_path / "data.yaml").write_text(json.dumps(about))  # Also YAML.
        return tmp_path

    return save


@pytest.fixture
def save_labelme(tmp_path, image):
    """`save_labelme(shapes)`: one image and its JSON file."""

    def save(*shapes, image_path="a.png"):
        image("a.png")
        document = {
            "imagePath": image_path,
            "imageHeight": 8,
            "imageWidth": 10,
            "shapes": list(shapes),
        }
        (tmp_path / "a.json").write_text(json.dumps(document))
        return tmp_path

    return save


def _boxes(data):
    return data[0]["bounding_boxes"]["boxes"].tolist()


def _labels(data):
    labels = data[0]["bounding_boxes"]["labels"]
    return [data.info.label_names[label] for label in labels]


# === YOLO ===


def test_yolo_boxes_are_centers_and_sides_as_fractions(save_yolo):
    data = load("yolo", directory=save_yolo(["1 0.5 0.25 0.4 0.5"]))
    # Center (5, 2), 4 wide and 4 high, in 10 x 8 pixels.
    np.testing.assert_allclose(_boxes(data), [[3, 0, 7, 4]], atol=1e-5)
    assert _labels(data) == ["dog"]
    assert data.ids([0]).tolist() == ["images/train/a"]


def test_yolo_polygons_become_boxes_or_masks(save_yolo):
    folder = save_yolo(["0 0.1 0.125 0.5 0.125 0.5 0.5 0.1 0.5"])
    data = load("yolo", directory=folder)
    np.testing.assert_allclose(_boxes(data), [[1, 1, 5, 4]], atol=1e-5)
    data = load("yolo", directory=folder, target="masks")
    expected = np.zeros((8, 10, 1), "uint8")
    expected[1:4, 1:5] = 1
    np.testing.assert_array_equal(data[0]["segmentation_masks"], expected)
    assert data.info.mask_names == ("background", "cat", "dog")


def test_yolo_keypoints_are_people_in_pixels(save_yolo):
    folder = save_yolo(
        ["0 0.5 0.5 0.4 0.5 0.4 0.5 2 0 0 0"],
        kpt_shape=[2, 3],
        flip_idx=[1, 0],
        kpt_names={0: ["left_eye", "right_eye"]},
    )
    data = load("yolo", directory=folder, target="keypoints")
    np.testing.assert_allclose(data[0]["keypoints"], [[4, 4, 2], [0, 0, 0]])
    assert data.info.keypoint_names == ("left_eye", "right_eye")
    assert data.info.flip_pairs == ((0, 1),)
    everyone = data.info.people["images/train/a"]
    # 4 x 4 pixels, of which Ultralytics counts 53%.
    np.testing.assert_allclose(everyone["areas"], [16 * 0.53], rtol=1e-5)


def test_an_image_without_a_file_of_yolo_has_no_objects(save_yolo, image):
    folder = save_yolo(["0 0.5 0.5 0.1 0.1"])
    image("images/train/b.png")
    data = load("yolo", directory=folder)
    assert [len(e["bounding_boxes"]["labels"]) for e in data] == [1, 0]


def test_the_folders_of_roboflow_are_found(save_yolo):
    folder = save_yolo(["0 0.5 0.5 0.1 0.1"], train="../images/train")
    assert len(load("yolo", directory=folder)) == 1


def test_a_file_of_yolo_cannot_lead_out_of_its_folder(save_yolo, tmp_path):
    folder = save_yolo(["0 0.5 0.5 0.1 0.1"])
    inner = folder / "inner"
    inner.mkdir()
    (folder / "data.yaml").rename(inner / "data.yaml")
    text = (inner / "data.yaml").read_text().replace("images/t", "../images/t")
    (inner / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"outside: allow_outside=True"):
        load("yolo", directory=inner)
    assert len(load("yolo", directory=inner, allow_outside=True)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "a class, 0 to 1, and numbers"),
        ("0.5 0.5 0.5 0.1 0.1", "a class, 0 to 1, and numbers"),
        ("0 0.5 0.5 nan 0.1", "a class, 0 to 1, and numbers"),
        ("0 0.5 0.5 0.1", "expected a class and 4"),
        ("0 0.5 0.5 0 0.1", "a width and a height above 0"),
        ("0 0.9 0.5 0.6 0.1", "a box inside the image"),
    ],
)
def test_a_faulty_line_of_yolo_is_named(save_yolo, line, message):
    folder = save_yolo(["", "0 0.5 0.5 0.1 0.1", line])
    with pytest.raises(ValueError, match=message) as error:
        load("yolo", directory=folder)
    assert "a.txt', line 3" in str(error.value)
    with pytest.warns(UserWarning, match="Left out 1 annotation"):
        assert len(_boxes(load("yolo", directory=folder, on_error="drop"))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", "is not YAML"),
        ("train: x", "must have `names`"),
        ("names: {1: a}", "must number the classes from 0"),
        ("names: [a]\nkpt_shape: [3]", "`kpt_shape` must be"),
        ("names: [a]", "`split` must be one of"),
        ("names: [a]\ntrain: none", "must be a folder of images"),
        ("names: [a]\ntrain: images/train", "must have labels"),
    ],
)
def test_a_faulty_data_yaml_is_named(tmp_path, image, text, message):
    image("images/train/a.png")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load("yolo", directory=tmp_path)


# === labelme ===


def test_shapes_of_labelme_become_boxes(save_labelme):
    folder = save_labelme(
        {"label": "b", "points": [[1, 1], [8, 1], [4, 6]]},
        {"label": "a", "points": [[6, 7], [2, 3]], "shape_type": "rectangle"},
        {"label": "a", "points": [[5, 4], [5, 6]], "shape_type": "circle"},
    )
    data = load("labelme", None, directory=folder)
    expected = [[1, 1, 8, 6], [2, 3, 6, 7], [3, 2, 7, 6]]
    np.testing.assert_allclose(_boxes(data), expected, atol=0.03)
    assert _labels(data) == ["b", "a", "a"]


def test_the_last_shape_of_labelme_is_in_front(save_labelme):
    square = [[0, 0], [4, 4]]
    folder = save_labelme(
        {"label": "b", "points": square, "shape_type": "rectangle"},
        {
            "label": "a",
            "points": [[0, 0], [2, 4]],
            "shape_type": "rectangle",
        },
    )
    data = load("labelme", None, directory=folder, target="masks")
    mask = data[0]["segmentation_masks"][..., 0]
    assert data.info.mask_names == ("background", "a", "b")
    assert (mask[:4, :2] == 1).all() and (mask[:4, 2:4] == 2).all()
    assert mask[4:].max() == 0 and mask[:, 4:].max() == 0


def test_points_and_lines_of_labelme_are_left_out_aloud(save_labelme):
    folder = save_labelme(
        {"label": "a", "points": [[1, 1]], "shape_type": "point"},
        {"label": "b", "points": [[1, 1], [5, 5], [1, 5]]},
    )
    with pytest.warns(UserWarning, match="Left out 1 shape "):
        data = load("labelme", None, directory=folder)
    assert data.info.label_names == ("b",)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"label": "", "points": [[1, 1], [5, 5], [1, 5]]}, "name of a class"),
        ({"label": "a", "points": [[1, 1], [5, 5]]}, "3 or more corners"),
        ({"label": "a", "points": "some"}, "3 or more corners"),
        (
            {"label": "a", "points": [[1, 1]], "shape_type": "mask"},
            "shape_type",
        ),
    ],
)
def test_a_faulty_shape_of_labelme_is_named(save_labelme, shape, message):
    with pytest.raises(ValueError, match=message) as error:
        load("labelme", None, directory=save_labelme(shape))
    assert "a.json': shape number 0" in str(error.value)


def test_labelme_cannot_name_an_image_elsewhere(save_labelme):
    folder = save_labelme(image_path="../../etc/passwd")
    with pytest.raises(ValueError, match="leaves the folder"):
        load("labelme", None, directory=folder)


# === CVAT ===


def test_boxes_and_polygons_of_cvat_are_read_by_subset(tmp_path, image):
    image("images/a.png"), image("images/b.png")
    (tmp_path / "annotations.xml").write_text(
        '<annotations><image name="a.png" width="10" height="8" subset="train">'
        '<polygon label="dog" points="1,1;5,1;5,4" z_order="1"/>'
        '<box label="cat" xtl="0" ytl="0" xbr="4" ybr="4" z_order="0"/></image>'
        '<image name="b.png" width="10" height="8" subset="test"/>'
        "</annotations>"
    )
    data = load("cvat", "train", directory=tmp_path)
    assert data.ids(range(len(data))).tolist() == ["a.png"]
    assert _boxes(data) == [[0, 0, 4, 4], [1, 1, 5, 4]]
    assert _labels(data) == ["cat", "dog"]
    masks = load("cvat", "train", directory=tmp_path, target="masks")
    # The polygon is in front, and the box behind it.
    assert masks[0]["segmentation_masks"][1, 3, 0] == 2
    assert masks[0]["segmentation_masks"][3, 0, 0] == 1


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ('xtl="4" ytl="0" xbr="1" ybr="4"', "a width and a height above 0"),
        ('xtl="a" ytl="0" xbr="1" ybr="4"', "coordinates must be numbers"),
        ('xtl="1" ytl="0" xbr="30" ybr="4"', "a box inside the image"),
    ],
)
def test_a_faulty_box_of_cvat_is_named(tmp_path, image, box, message):
    image("a.png")
    (tmp_path / "annotations.xml").write_text(
        '<annotations><image name="a.png" width="10" height="8">'
        f'<box label="cat" {box}/></image></annotations>'
    )
    with pytest.raises(ValueError, match=message) as error:
        load("cvat", None, directory=tmp_path)
    assert "image 'a.png', box number 0" in str(error.value)


# === labelImg ===


def test_an_xml_file_per_image_needs_no_list(tmp_path, save_voc):
    save_voc("a", [("cat", (2, 3, 4, 5), 0)], folder=".")
    data = load(
        "voc_flat",
        None,
        directory=tmp_path,
        images="JPEGImages",
        annotations="Annotations",
    )
    # Pixels are counted from 1, and the last one is inside.
    assert _boxes(data) == [[1, 2, 4, 5]]


def test_an_xml_file_without_an_image_is_named(tmp_path, save_voc):
    save_voc("a", [], folder=".")
    save_voc("b", [], folder=".")
    (tmp_path / "JPEGImages" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"1 have not: \['b \(0 images\)'\]"):
        load(
            "voc_flat",
            None,
            directory=tmp_path,
            images="JPEGImages",
            annotations="Annotations",
        )


# === Hugging Face ===


def test_labels_of_hugging_face_are_named_and_counted(request, tmp_path):
    options = small_data_sets.hugging_face(request.getfixturevalue, tmp_path)
    data = load("hugging_face", "train", **options)
    assert data.info.label_names == ("cat", "dog")
    assert data.info.class_counts.tolist() == [3, 3]
    assert [int(e["labels"]) for e in data] == [0, 1] * 3
    with pytest.raises(ValueError, match=r"has the splits \['train'\]"):
        load("hugging_face", None, **options)


def test_an_image_that_hugging_face_left_elsewhere_is_named(tmp_path):
    row = {"image": {"bytes": None, "path": "/photos/1.jpg"}, "label": 0}
    other = {"image": {"bytes": b"x", "path": None}, "label": 0}
    small_data_sets.save_arrow(tmp_path / "train", [row, other], ["cat"])
    data = load("hugging_face", None, directory=tmp_path / "train")
    with pytest.raises(ValueError, match="row 0 must be stored"):
        data[0]


def test_yolo_has_a_name_for_each_class_that_it_counts(save_yolo):
    folder = save_yolo(["0 0.5 0.5 0.1 0.1"], nc=3)
    with pytest.raises(ValueError, match=r"nc=3, 2 names"):
        load("yolo", directory=folder)
    folder = save_yolo(["0 0.5 0.5 0.1 0.1", "1 0.5 0.5 0.1 0.1"], nc=2)
    assert load("yolo", directory=folder).info.label_names == ("cat", "dog")
