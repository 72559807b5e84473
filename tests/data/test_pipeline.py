"""The pipeline: every example once a pass, the same whoever reads it when."""

import pickle
import threading

import numpy as np
import pytest

from keras_jft.data import load, subset
from keras_jft.data.pipeline import iterate
from keras_jft.data.transforms import Pad, RandomCrop, RandomFlip


def _ids(batches):
    """Ids of one pass, a list a batch."""
    return [batch["ids"].tolist() for batch in batches]


def _flat(lists):
    return [item for items in lists for item in items]


def _images(batches):
    """`{id: image}` of one pass."""
    return {
        name: image
        for batch in batches
        for name, image in zip(
            batch["ids"].tolist(), batch["images"], strict=True
        )
    }


def _assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def test_evaluation_reads_everything_in_order_each_time(make_data):
    batches = iterate(make_data(10), 4)
    assert len(batches) == 3
    for _ in range(2):
        assert _ids(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_training_reads_every_example_once_in_another_order_each_pass(
    make_data,
):
    batches = iterate(make_data(12), 4, training=True)
    passes = [_flat(_ids(batches)) for _ in range(5)]
    assert all(sorted(ids) == list(range(12)) for ids in passes)
    assert len({tuple(ids) for ids in passes}) == 5
    again = iterate(make_data(12), 4, training=True)
    assert [_flat(_ids(again)) for _ in range(5)] == passes
    other = iterate(make_data(12), 4, training=True, seed=1)
    assert _flat(_ids(other)) != passes[0]


def test_batches_hold_what_the_examples_hold(make_data):
    data = make_data(10)
    for batch in iterate(data, 4, training=True):
        assert batch["labels"].shape == (4, 3)
        for row, name in enumerate(batch["ids"]):
            example = data.examples[name]
            np.testing.assert_array_equal(
                batch["images"][row], example["images"]
            )
            labels = batch["labels"][row]
            assert labels[labels >= 0].tolist() == example["labels"].tolist()


def test_an_entry_that_batches_do_not_have_is_refused(listed):
    # Transforms would mirror the image, and leave the depth as it is.
    example = {
        "images": np.zeros((4, 4, 3), "uint8"),
        "depth": np.zeros((4, 4, 1), "float32"),
        "ids": 7,
    }
    with pytest.raises(ValueError, match=r"Example 7 .*\['depth'\].*pairs"):
        next(iter(iterate(listed([example]), 1, transforms="flip")))


def test_only_training_drops_a_last_batch_that_is_not_full(make_data):
    data = make_data(10)
    sizes = {
        (training, drop): [
            len(batch["ids"])
            for batch in iterate(
                data, 4, training=training, drop_remainder=drop
            )
        ]
        for training in (False, True)
        for drop in (None, False, True)
    }
    full, all_of_it = [4, 4], [4, 4, 2]
    assert sizes == {
        (False, None): all_of_it,
        (False, False): all_of_it,
        (False, True): full,
        (True, None): full,
        (True, False): all_of_it,
        (True, True): full,
    }


def test_a_pass_that_is_begun_but_not_finished_changes_nothing(make_data):
    batches = iterate(make_data(12), 4, training=True)
    first = next(iter(batches))["ids"].tolist()
    iter(batches)
    half = iter(batches)
    assert [next(half)["ids"].tolist(), next(half)["ids"].tolist()][0] == first
    whole = _ids(batches)
    assert whole[0] == first
    assert _ids(batches) != whole


def test_two_readers_of_one_pass_move_on_once(make_data):
    batches = iterate(make_data(8), 4, training=True)
    expected = iterate(make_data(8), 4, training=True)
    passes = [_ids(expected) for _ in range(2)]
    one, two = iter(batches), iter(batches)
    assert [next(one)["ids"].tolist(), next(two)["ids"].tolist()] == (
        [passes[0][0]] * 2
    )
    next(one), next(two)
    assert _ids(batches) == passes[1]


@pytest.mark.parametrize(("epoch", "step"), [(0, 2), (1, 0), (2, 1)])
def test_a_resumed_run_goes_on_with_the_next_batch(make_data, epoch, step):
    options = {"training": True, "transforms": [RandomFlip()], "seed": 5}
    whole = iterate(make_data(12), 4, **options)
    stream = [batch for _ in range(5) for batch in whole]
    resumed = iterate(
        make_data(12), 4, initial_epoch=epoch, initial_step=step, **options
    )
    rest = [batch for _ in range(2) for batch in resumed]
    start = 3 * epoch + step
    _assert_same(rest, stream[start : start + 6])


def test_draws_depend_on_seed_epoch_and_id_alone(make_data):
    transforms = [Pad(2), RandomCrop((6, 8)), RandomFlip()]

    def passes(batch_size=4, num=16, **options):
        batches = iterate(
            make_data(num), batch_size, training=True, transforms=transforms,
            **options,
        )  # fmt: skip
        return [_images(batches) for _ in range(2)]

    expected = passes()
    for other in (passes(batch_size=8), passes(workers=1), passes(workers=5)):
        for images, others in zip(expected, other, strict=True):
            assert images.keys() == others.keys()
            for name, image in images.items():
                np.testing.assert_array_equal(image, others[name])

    def differ(images, others):
        return sum((images[name] != others[name]).any() for name in images)

    assert differ(expected[0], expected[1]) > 8, "another epoch"
    assert differ(expected[0], passes(seed=1)[0]) > 8, "another seed"


def test_passes_of_an_evaluation_are_alike_whatever_is_drawn(make_data):
    batches = iterate(make_data(8), 4, transforms=[RandomFlip()])
    _assert_same(list(batches), list(batches))


@pytest.mark.parametrize("training", [True, False])
def test_shards_split_each_batch_of_the_whole(make_data, training):
    options = {"training": training, "transforms": "shift_and_flip"}
    data = [make_data(24, size=(32, 32)) for _ in range(4)]
    whole = iterate(data[0], 6, **options)
    shards = [
        iterate(data[i + 1], 2, shard=(i, 3), **options) for i in range(3)
    ]
    for _ in range(2):
        passes = [list(batches) for batches in (whole, *shards)]
        for batch, *parts in zip(*passes, strict=True):
            for key in batch:
                # The shards take turns within the global batch.
                joined = np.stack([part[key] for part in parts], axis=1)
                joined = joined.reshape(batch[key].shape)
                np.testing.assert_array_equal(joined, batch[key])


def test_uneven_shards_agree_on_training_steps_and_lose_no_test_image(
    make_data,
):
    data = make_data(11)
    for training, steps, total in ((True, {1}, 6), (False, {2}, 11)):
        shards = [
            iterate(data, 2, shard=(i, 3), training=training) for i in range(3)
        ]
        assert {len(batches) for batches in shards} == steps
        ids = _flat(_flat(_ids(batches)) for batches in shards)
        assert len(ids) == len(set(ids)) == total


def test_transforms_go_by_name_or_by_function(make_data):
    data = make_data(8)

    def blacken(example, rng):
        return {**example, "images": example["images"] * np.uint8(0)}

    assert not next(iter(iterate(data, 8, transforms=[blacken])))[
        "images"
    ].any()
    plain = _images(iterate(data, 8))
    assert all(
        (image == plain[name]).all()
        for name, image in _images(iterate(data, 8, transforms="flip")).items()
    )
    flipped = _images(iterate(data, 8, transforms="flip", training=True))
    kinds = {
        name: (
            (image == plain[name]).all(),
            (image == plain[name][:, ::-1]).all(),
        )
        for name, image in flipped.items()
    }
    assert set(kinds.values()) == {(True, False), (False, True)}


def test_originals_come_with_where_transforms_moved_them(make_data):
    data = make_data(6, size=(6, 8))
    chain = (Pad(2), RandomCrop((6, 7)))
    batches = iterate(data, 4, transforms=chain, training=True, originals=True)
    for batch in batches:
        for i, original in enumerate(batch["originals"]):
            assert original["ids"] == batch["ids"][i]
            assert "placements" not in original
            assert original["images"].shape == (6, 8, 3)
            (_, scale_y), (x, y) = batch["placements"][i]
            assert scale_y == 1
            padded = np.pad(original["images"], [(2, 2), (2, 2), (0, 0)])
            x, y = int(2 - x), int(2 - y)
            np.testing.assert_array_equal(
                batch["images"][i], padded[y : y + 6, x : x + 7]
            )
    assert "originals" not in next(iter(iterate(data, 4, transforms=chain)))


def test_a_transform_by_name_knows_the_keypoints(listed):
    image = np.zeros((2, 2, 3), "uint8")
    keypoints = np.float32([[0, 0, 2], [1, 1, 2]])
    examples = [
        {"images": image, "keypoints": keypoints, "ids": i} for i in range(20)
    ]
    data = listed(examples, keypoint_names=("left_eye", "right_eye"))
    (batch,) = iterate(data, 20, transforms="flip", training=True)
    kinds = np.unique(batch["keypoints"], axis=0).tolist()
    assert kinds == [[[0, 0, 2], [1, 1, 2]], [[1, 1, 2], [2, 0, 2]]]


@pytest.mark.parametrize("field", ["label_names", "mask_names"])
def test_a_flip_warns_of_classes_that_are_each_other_s_mirror(listed, field):
    names = ("stop", "Turn Left", "Turn Right")
    example = {"images": np.zeros((4, 4, 3), "uint8"), "ids": 0}
    data = listed([example], **{field: names})
    with pytest.warns(UserWarning, match="'Turn Left'.*'Turn Right'.*1 pair"):
        iterate(data, 1, transforms="imagenet", training=True)
    # Nothing is mirrored, or nothing has a side.
    iterate(data, 1, transforms="imagenet")
    data = listed([example], **{field: names[:2]})
    iterate(data, 1, transforms="imagenet", training=True)


def test_batches_are_read_ahead_by_several_threads(make_data):
    data = make_data(12)
    together = threading.Barrier(3, timeout=20)

    def meet(example, rng):
        together.wait()
        return example

    # Each batch waits for two others: one thread would never finish.
    assert len(list(iterate(data, 1, transforms=[meet], workers=3))) == 12


def test_leaving_a_pass_half_way_stops_its_threads(make_data):
    others = set(threading.enumerate())
    batches = iter(iterate(make_data(400), 1, workers=2))
    next(batches)
    started = set(threading.enumerate()) - others
    assert started
    batches.close()
    for thread in started:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 11, "training": True},
            "num_examples=10.*batch_size=11",
        ),
        ({"batch_size": 0}, "`batch_size`.*0"),
        ({"batch_size": 2, "shard": (2, 2)}, r"`shard`.*\(2, 2\)"),
        ({"batch_size": 2, "transforms": "flop"}, "'flop'"),
        ({"batch_size": 2, "tolerate": 1.5}, "`tolerate`.*1.5"),
        ({"batch_size": 2, "tolerate": -1}, "`tolerate`.*-1"),
    ],
)
def test_arguments_out_of_range_are_refused(make_data, options, message):
    with pytest.raises(ValueError, match=message):
        iterate(make_data(10), **options)


def test_batches_are_the_same_in_another_process():
    data = subset(load("synthetic", num_examples=30), 20)
    batches = iterate(data, 4, transforms="flip", training=True)
    copied = pickle.loads(pickle.dumps(batches))
    for number in (0, 7):
        _assert_same([copied.batch(number)], [batches.batch(number)])


def test_a_transform_is_an_object_not_its_class():
    data = load("synthetic", num_examples=4)
    with pytest.raises(ValueError, match=r"objects such as `RandomFlip\(\)`"):
        iterate(data, 2, transforms=[RandomFlip])


def test_arguments_of_other_kinds_are_named(make_data):
    data = make_data(6)
    assert iterate(data, 2.0).batch_size == 2
    for size in (0, 2.5, "2", None):
        with pytest.raises(ValueError, match="`batch_size` must be a whole"):
            iterate(data, size)
    flip = RandomFlip()
    with pytest.raises(ValueError, match=r"sequence.*Pass \[RandomFlip\("):
        iterate(data, 2, transforms=flip)
    for transforms in ([flip], (flip,), iter([flip])):
        batches = iterate(data, 2, transforms=transforms)
        assert batches.transforms == (flip,)
