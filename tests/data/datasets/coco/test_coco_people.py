"""One example per person: whom, in which boxes, with whom behind, bad files."""

import json

import fuzzing
import numpy as np
import pytest

from keras_jft import data as jft_data


@pytest.fixture
def save(save_coco, coco, tmp_path):
    """`save(change)`: a file of keypoints in COCO's layout, 7 people."""

    def make(change=None, **options):
        document = coco(keypoints=True)
        if change is not None:
            change(document)
        path = save_coco(document)
        keypoints = path.with_name("person_keypoints_train2017.json")
        path.rename(keypoints)
        return jft_data.load("coco_people", directory=tmp_path, **options)

    return make


def test_everyone_with_a_keypoint_and_no_crowd_is_an_example(save):
    def change(document):
        document["annotations"][4]["keypoints"] = [0] * 9
        document["annotations"][4]["num_keypoints"] = 0

    people = save(change)
    # In the order of the images 9, 7, 12; 103 is a crowd, 104 has none.
    assert people.ids(range(5)).tolist() == [101, 102, 100, 105, 106]
    assert [people[i]["image_ids"] for i in range(5)] == [9, 9, 7, 12, 12]
    info = people.info
    assert info.keypoint_names == ("nose", "left_eye", "right_eye")
    assert info.skeleton == ((0, 1), (0, 2)) and info.sigmas == ()
    # For the evaluation all of them are there.
    assert {i: len(e["labels"]) for i, e in info.people.items()} == {
        9: 2,
        7: 2,
        12: 3,
    }
    assert info.people[12]["ignored"].tolist() == [True, False, False]
    first = people[0]
    np.testing.assert_array_equal(
        first["keypoints"], [[1, 2, 2], [3, 1.5, 1], [0, 0, 0]]
    )
    assert first["bounding_boxes"]["boxes"].tolist() == [
        [1, 1, 3, 3],
        [2.5, 1, 5.5, 4],
    ]
    assert people[1]["bounding_boxes"]["boxes"][0].tolist() == [2.5, 1, 5.5, 4]


def test_the_nearest_others_come_after_the_person(save):
    people = save(max_people=2)
    assert people.info.max_boxes == 2
    # 105 is at (5, 5); the crowd at (4.5, 3.5) is nearer than 106 at (5.5, 1).
    example = people[4]
    assert example["ids"] == 105
    assert example["bounding_boxes"]["boxes"].tolist() == [
        [4, 4, 6, 6],
        [0, 0, 9, 7],
    ]


def test_people_go_through_the_pipeline(save):
    people = jft_data.cache(jft_data.subset(save(sigmas=[0.1] * 3), 4))
    assert people.info.sigmas == (0.1, 0.1, 0.1)
    assert people.info.people is None, "a subset is not everyone"
    batches = jft_data.iterate(people, 2, transforms="pose", training=True)
    for batch in batches:
        jft_data.check_batch(batch, num_keypoints=3)
        assert batch["images"].shape == (2, 353, 257, 3)
        entry = batch["bounding_boxes"]["keypoints"]
        assert entry.shape == (2, 8, 3, 3)
        np.testing.assert_array_equal(entry[:, 0], batch["keypoints"])
    spec = jft_data.batches(people, 2, transforms="pose").element_spec
    assert spec["bounding_boxes"]["keypoints"].shape == (2, 8, 3, 3)


def test_a_flip_swaps_left_and_right_of_everyone(save):
    people = save()
    names = people.info.keypoint_names
    flip = jft_data.transforms.RandomFlip(names, probability=1.0)
    example, rng = people[0], np.random.default_rng(0)
    flipped = flip(example, rng)
    np.testing.assert_allclose(
        flipped["keypoints"], [[9, 2, 2], [0, 0, 0], [7, 1.5, 1]]
    )
    np.testing.assert_array_equal(
        flipped["bounding_boxes"]["keypoints"][0], flipped["keypoints"]
    )
    again = flip(flipped, rng)
    np.testing.assert_allclose(again["keypoints"], example["keypoints"])


@pytest.mark.parametrize("pairs, place", [([("wing1", "wing2")], 2), ([], 1)])
def test_a_preset_flips_by_the_pairs_that_a_data_set_is_given(
    save, pairs, place
):
    def rename(document):
        names = ["beak", "wing1", "wing2"]
        document["categories"][0]["keypoints"] = names

    people = save(rename, flip_pairs=pairs)
    (batch,) = jft_data.iterate(people, 6, transforms="flip", training=True)
    first_wings = batch["keypoints"][:, 1:, 2].argmax(axis=1) + 1
    x = batch["keypoints"][range(6), first_wings, 0]
    # It is at 3 of 10 pixels, and alone labeled of the two.
    assert set(x) == {3, 7}
    assert set(first_wings[x == 3]) == {1}
    assert set(first_wings[x == 7]) == {place}
    with pytest.raises(ValueError, match="'wing3'"):
        save(rename, flip_pairs=[("wing1", "wing3")])


RESULTS = [
    {"image_id": 12, "category_id": 1, "bbox": [1, 1, 4, 4], "score": 0.6},
    {"image_id": 12, "category_id": 1, "bbox": [1, 1, 4, 3.9], "score": 0.9},
    {"image_id": 12, "category_id": 1, "bbox": [5, 1, 9, 4], "score": 0.7},
    {"image_id": 9, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.05},
    {"image_id": 9, "category_id": 2, "bbox": [0, 0, 4, 4], "score": 0.95},
]


def test_people_in_detected_boxes_are_found_once(save, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(RESULTS))
    for detections in (RESULTS, path):
        people = save(detections=detections, min_score=0.1)
        # 0 lies in 1, 3 scores too low, 4 is nobody.
        assert people.ids(range(2)).tolist() == [1, 2]
        entry = people[1]["bounding_boxes"]
        assert entry["boxes"].tolist() == [[5, 1, 10, 5]], "in the image"
        assert not people[1]["keypoints"].any()
        assert len(people.info.people) == 3
    assert len(save(detections=RESULTS)) == 3
    assert len(save(detections=RESULTS, iou_threshold=1.0)) == 4
    assert len(save(detections=RESULTS, ids=[9])) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"bbox": [0, 0, 0, 4]},
            "result number 0, field `bbox`.*not empty, in 10 x 8",
        ),
        ({"bbox": [50, 0, 3, 4]}, "field `bbox`"),
        ({"bbox": [0, 0, float("nan"), 4]}, "field `bbox`.*finite"),
        ({"image_id": 5}, "field `image_id`.*one of 3 images"),
        ({"score": None}, "field `score`"),
    ],
)
def test_faulty_detections_are_named(save, change, message):
    with pytest.raises(ValueError, match=message):
        save(detections=[{**RESULTS[0], **change}])


def test_what_is_missing_is_said(save, save_coco, coco, tmp_path):
    def nobody(document):
        document["annotations"] = []

    with pytest.raises(ValueError, match="must have people"):
        save(nobody)
    with pytest.raises(ValueError, match="must be one per keypoint, 3"):
        save(sigmas=[0.1])
    (tmp_path / "train2017" / "0007.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 are not: '0007\.png'"):
        jft_data.load("coco_people", directory=tmp_path)
    with pytest.raises(ValueError, match="category with `keypoints`"):
        jft_data.load(
            "coco_people", annotations=save_coco(coco()), directory=tmp_path
        )


def test_sigmas_may_be_an_array_and_somebody_must_be_wanted(save):
    people = save(sigmas=np.array([0.1, 0.2, 0.3]))
    assert people.info.sigmas == (0.1, 0.2, 0.3)
    with pytest.raises(ValueError, match="`max_people` must be positive"):
        save(max_people=0)


def test_a_category_without_keypoints_may_stand_beside_one_with(save):
    def change(document):
        document["categories"].append({"id": 99, "name": "ball"})
        ball = {**document["annotations"][0], "id": 999, "category_id": 99}
        del ball["keypoints"], ball["num_keypoints"]
        document["annotations"].append(ball)

    assert 999 not in save(change).ids(range(5)).tolist()


def test_mutated_results_are_read_or_refused_by_name(save, tmp_path):
    save()
    path, rng, refused = tmp_path / "found.json", np.random.default_rng(0), 0
    for number in range(200):
        content = json.dumps(RESULTS).encode()
        if number % 2:
            content = fuzzing.mutated_json(RESULTS, rng).encode()
        else:
            content = fuzzing.mutated_bytes(content, rng)
        path.write_bytes(content)
        try:
            people = jft_data.load(
                "coco_people", directory=tmp_path, detections=path
            )
        except ValueError as error:
            refused += 1
            assert "json" in str(error) and len(str(error)) < 800
        else:
            assert all(np.isfinite(p["keypoints"]).all() for p in people)
    assert 100 < refused < 200
