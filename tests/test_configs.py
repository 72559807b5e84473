"""Whatever can be known before the first step is checked by the config."""

import dataclasses
import inspect
import json
import pathlib
import types
import typing

import numpy as np
import pytest

import keras_jft as jft
from keras_jft.backbones import resnet
from keras_jft.data.transforms import RandomFlip, Resize
from keras_jft.pretrain.trainer import LOSSES
from keras_jft.scaling.study.config_id import config_id
from keras_jft.transfer.trainer import FIRST_TRAINED

CONFIGS = (
    jft.training.Optimization,
    jft.pretrain.Config,
    jft.transfer.Config,
    jft.evaluation.Config,
)
# Every field with a closed set of values, whichever config has it.
NAMED = {
    "optimizer": jft.training.OPTIMIZERS,
    "schedule": jft.training.SCHEDULES,
    "loss": LOSSES,
    "dataset": jft.data.DATASETS,
    "transforms": jft.data.TRANSFORMS,
    "initial": [".keras"],
    "backbone": [f"resnet{depth}" for depth in resnet.DEPTHS],
    "block": resnet.BLOCKS,
    "stem": resnet.STEMS,
    "head": jft.transfer.HEADS,
    "mode": FIRST_TRAINED,
    "multipliers": ["layerwise:0.75"],
    "task": jft.metrics.METRICS,
    "dtype": ("float32", "mixed_bfloat16", "fastest"),
}
FREE = {"split", "map_weights"}  # Texts whose meaning the data set knows.


def fields():
    for config in CONFIGS:
        for name, kind in typing.get_type_hints(config).items():
            yield config, name, kind


def of_kind(kind):
    return [
        pytest.param(c, name, id=f"{c.__module__}-{name}")
        for c, name, found in fields()
        if kind is found
        or (isinstance(found, types.UnionType) and kind in found.__args__)
    ]


@pytest.mark.parametrize(("config", "name"), of_kind(str))
def test_an_unknown_name_is_refused_with_those_there_are(config, name):
    if name in FREE:
        return
    with pytest.raises(ValueError, match=f"`{name}` must be") as error:
        config(**{name: "no such"})
    said = str(error.value)
    assert "no such" in said
    allowed = list(NAMED[name])
    assert all(repr(one) in said or f'"{one}"' in said for one in allowed)


@pytest.mark.parametrize("wrong", ["10", True, 1.5, [1], float("nan")])
@pytest.mark.parametrize(("config", "name"), of_kind(int))
def test_a_whole_number_must_be_a_finite_integer(config, name, wrong):
    with pytest.raises(ValueError, match=f"`{name}` must be a whole number"):
        config(**{name: wrong})


@pytest.mark.parametrize("wrong", ["0.1", False, float("nan"), float("inf")])
@pytest.mark.parametrize(("config", "name"), of_kind(float))
def test_a_number_must_be_finite(config, name, wrong):
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number"):
        config(**{name: wrong})


@pytest.mark.parametrize(("config", "name"), of_kind(bool))
def test_a_switch_must_be_true_or_false(config, name):
    with pytest.raises(ValueError, match=f"`{name}` must be True or False"):
        config(**{name: "no"})


@pytest.mark.parametrize(
    ("config", "name"),
    [*of_kind(int), *of_kind(float)],
)
def test_negative_numbers_are_refused(config, name):
    with pytest.raises(ValueError, match=f"`{name}` must"):
        config(**{name: -1})


Pretrain, Transfer, Evaluation = CONFIGS[1:]


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (Pretrain, {"blocks": (1, 1, 1)}, "`blocks` must be four"),
        (Pretrain, {"blocks": "1111"}, "`blocks` must be a tuple"),
        (Pretrain, {"image_size": 32}, "`image_size` must be a tuple of 2"),
        (Pretrain, {"image_size": (0, 32)}, "`image_size` must be a height"),
        (
            Pretrain,
            {"transforms": "jft"},
            "produce images of 299 x 299.*32, 32",
        ),
        (Pretrain, {"transforms": ("flip",)}, "`transforms` must be one of"),
        (Pretrain, {"transforms": (RandomFlip,)}, "objects such as.*RandomFl"),
        (Transfer, {"transforms": [Resize]}, "objects such as.*Resize"),
        (Pretrain, {"options": {"nuber": 3}}, "`options` must be among.*nuber"),
        (
            Pretrain,
            {"options": {"noise": {"rong": 1}}},
            "`noise` must be among",
        ),
        (Pretrain, {"options": [3]}, "`options` must be a mapping"),
        (
            Pretrain,
            {"loss_options": {"gama": 1}},
            "`loss_options` must be among",
        ),
        (Pretrain, {"bn_momentum": 1.1}, "`bn_momentum` must be 0 or more an"),
        (Pretrain, {"seed": 2**32}, "`seed` must be 0 or more and"),
        (Pretrain, {"boundaries": (0, 3)}, "`boundaries` must be steps"),
        (Pretrain, {"boundaries": (3, "4")}, "`boundaries` must be a tuple"),
        (Pretrain, {"momentum": 1.1}, "`momentum` must be 0 or more and 1"),
        (Pretrain, {"decay_rate": 0.0}, "`decay_rate` must be above 0"),
        (Transfer, {"transforms": (Resize((64, 64)),)}, "images of 64 x 64"),
        (Transfer, {"head_options": {"radios": 1}}, "`head_options` must be"),
        (Transfer, {"head_options": {"num_classes": 1}}, "`head_options` mu"),
        (Transfer, {"multipliers": {"head": "10"}}, "`multipliers` must be a"),
        (Transfer, {"multipliers": {"head": -1}}, "`multipliers` must be fac"),
        (Transfer, {"num_examples": 0}, "`num_examples` must be 1 or more"),
        (Evaluation, {"split": 3}, "`split` must be a string or None"),
        (
            Evaluation,
            {"task": "pose", "metric_options": {"sigma": 1}},
            "`metric_options` must be among",
        ),
        (
            Evaluation,
            {"metric_options": {"k": 3, "torso": 1}},
            "`metric_options` must be those of the metric of one task",
        ),
        (Pretrain, {"image_size": (1, 1)}, "`image_size` must be .* 8 or more"),
        (
            Transfer,
            {"image_size": (64, 4)},
            "`image_size` must be .* 8 or more",
        ),
        (Evaluation, {"batch_size": 0}, "`batch_size` must be 1 or more"),
    ],
)
def test_what_cannot_work_is_refused(config, values, message):
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_equal_configs_are_the_same_however_they_are_written():
    config = Pretrain(
        blocks=[1, np.int64(2), 1, 1],
        image_size=np.array([64, 32]),
        learning_rate=1,
        num_examples=np.int32(300),
        transforms=[RandomFlip()],
    )
    same = Pretrain(
        blocks=(1, 2, 1, 1),
        image_size=(64, 32),
        learning_rate=1.0,
        num_examples=300,
        transforms=(RandomFlip(),),
    )
    assert repr(config) == repr(same) and config == same
    assert Pretrain(num_examples=0).num_examples == 0


@pytest.mark.parametrize("whole", [300.0, np.float32(300), np.float64(300)])
def test_a_whole_number_may_be_of_a_type_with_fractions(whole):
    config = Pretrain(num_examples=whole, blocks=(1.0, 1, 1, 1), seed=whole)
    same = Pretrain(num_examples=300, blocks=(1, 1, 1, 1), seed=300)
    assert repr(config) == repr(same)
    assert config_id(config) == config_id(same)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_number_of_numpy_is_the_one_that_it_prints_as(kind):
    """0.03 in float32 is 0.029999999329447746, which nobody has written."""
    config = Pretrain(
        learning_rate=kind(0.03), options={"wrong_labels": kind(0.2)}
    )
    same = Pretrain(learning_rate=0.03, options={"wrong_labels": 0.2})
    assert repr(config) == repr(same)
    assert config_id(config) == config_id(same)


@pytest.mark.parametrize("switch", [True, False])
def test_a_switch_may_be_a_boolean_of_numpy(switch):
    config = Pretrain(label_prior=np.bool_(switch))
    assert config.label_prior is switch
    assert config_id(config) == config_id(Pretrain(label_prior=switch))


def test_a_net_is_trained_in_floats():
    for config in (Pretrain, Transfer):
        for dtype in ("float32", "bfloat16", "float64", "mixed_float16"):
            assert config(dtype=dtype).dtype == dtype
        for dtype in ("int32", "uint8", "bool", "string", "int8_from_float32"):
            with pytest.raises(ValueError, match=f"`dtype` must .*'{dtype}'"):
                config(dtype=dtype)


@pytest.mark.parametrize("config", [Pretrain, Transfer, Evaluation])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_examples": -5}, "`num_examples` must be a whole number above 0"),
        ({"num_examples": "5"}, "`num_examples` must be a whole number above"),
        ({"num_examples": 0}, "`num_examples` must be a whole number above 0"),
        ({"num_examples": True}, "`num_examples` must be a whole number above"),
        ({"wrong_labels": "0.2"}, "`wrong_labels` must be a number"),
        ({"long_tail": "1"}, "`long_tail` must be a number"),
        ({"image_size": 0}, "`image_size` must be a whole number above 0"),
        ({"task": "depth"}, "`task` must be one of"),
        ({"preset": "odd"}, "`preset` must be one of"),
        ({"noise": float("nan")}, "`noise` must be a mapping.*nan"),
        ({"noise": 0.2}, "`noise` must be a mapping.*0.2"),
        ({"noise": {"wrong": 2}}, "`wrong` must be a rate"),
        ({"noise": {"wrong": "0.2"}}, "`wrong` must be a rate.*'0.2'"),
    ],
)
def test_options_of_the_synthetic_world_are_checked(config, options, message):
    with pytest.raises(ValueError, match=message):
        config(options=options)


def test_a_subset_is_not_larger_than_the_synthetic_world():
    for config in (Pretrain, Transfer):
        fits = config(options={"num_examples": 256}, num_examples=256)
        assert fits.num_examples == 256
        with pytest.raises(ValueError, match="at most 256.*num_examples=1000"):
            config(options={"num_examples": 256}, num_examples=1000)
    # By default there are 400 to transfer to, 100,000 to pre-train on.
    with pytest.raises(ValueError, match="at most 400"):
        Transfer(options={"task": "classification"}, num_examples=401)
    with pytest.raises(ValueError, match="at most 100000"):
        Pretrain(num_examples=100_001)


@pytest.mark.parametrize("name", sorted(jft.data.DATASETS))
def test_a_data_set_without_what_it_needs_says_so(name):
    needed = {
        field: "x"
        for field, parameter in inspect.signature(
            jft.data.DATASETS[name]
        ).parameters.items()
        if parameter.default is parameter.empty and field != "split"
    }
    jft.data.check_options(name, needed, complete=True)
    # A recipe is a config to which the folder is still to be added.
    assert Pretrain(dataset=name).options == {}
    if needed:
        with pytest.raises(ValueError, match=f"'{name}' needs the options"):
            jft.data.load(name)


def test_the_task_of_an_evaluation_is_that_of_the_head():
    def run(head, **options):
        task = jft.transfer.HEADS[head].task
        shown = {"task": "many_label" if task == "multi_label" else task}
        return jft.scaling.Run(
            pretrain=Pretrain(),
            transfer=Transfer(head=head, options=shown),
            evaluation=Evaluation(options=shown, **options),
        )

    for head, entry in jft.transfer.HEADS.items():
        assert run(head).evaluation.task == entry.task
        # Said or not, it is the same run.
        said = run(head, task=entry.task)
        assert config_id(run(head)) == config_id(said)
        other = "pose" if entry.task != "pose" else "detection"
        with pytest.raises(ValueError, match=f"head .* is '{entry.task}'"):
            run(head, task=other)
    with pytest.raises(ValueError, match=r"`transfer` must be a keras_jft\."):
        jft.scaling.Run(
            pretrain=Pretrain(), transfer=Pretrain(), evaluation=Evaluation()
        )


def test_the_data_sets_of_a_run_must_fit_the_task_of_its_head():
    shown = {"options": {"task": "segmentation"}}
    other = {"options": {"task": "classification"}}

    def run(transfer, evaluation):
        return jft.scaling.Run(
            pretrain=Pretrain(),
            transfer=Transfer(head="deeplab_aspp", **transfer),
            evaluation=Evaluation(**evaluation),
        )

    assert run(shown, shown).task == "segmentation"
    for transfer, evaluation, part, received in (
        (shown, other, "evaluation", "classification"),
        (shown, {}, "evaluation", "multi_label"),
        (other, shown, "transfer", "classification"),
        ({}, shown, "transfer", "multi_label"),
    ):
        match = f"`{part}` must use data for the task 'segm.*for '{received}'"
        with pytest.raises(ValueError, match=match):
            run(transfer, evaluation)


def test_a_data_set_annotated_for_another_task_is_refused():
    folder = {"options": {"directory": "photos"}}
    shown = {"options": {"task": "classification"}}

    def run(head, dataset):
        return jft.scaling.Run(
            pretrain=Pretrain(),
            transfer=Transfer(head=head, dataset=dataset, **folder),
            evaluation=Evaluation(dataset=dataset, **folder),
        )

    assert {*jft.data.ANNOTATED_FOR} < {*jft.data.DATASETS}
    assert {*jft.data.ANNOTATED_FOR.values()} <= {*jft.metrics.METRICS}
    assert run("classification", "image_folder").task == "classification"
    assert run("faster_rcnn", "voc").task == "detection"
    with pytest.raises(
        ValueError, match="`transfer` must use data.*'image_fol"
    ):
        run("faster_rcnn", "image_folder")
    with pytest.raises(
        ValueError, match="`evaluation` must use data.*'camvid'"
    ):
        jft.scaling.Run(
            pretrain=Pretrain(),
            transfer=Transfer(**shown),
            evaluation=Evaluation(dataset="camvid", **folder),
        )


def test_a_head_and_an_evaluation_fit_the_net():
    shown = {"options": {"task": "segmentation"}}

    def run(stride, stem="small", transforms="none"):
        return jft.scaling.Run(
            pretrain=Pretrain(stem=stem),
            transfer=Transfer(
                head="deeplab_aspp",
                head_options={"output_stride": stride},
                **shown,
            ),
            evaluation=Evaluation(transforms=transforms, **shown),
        )

    assert run(4).pretrain.stem == "small"
    assert run(16, stem="imagenet").pretrain.stem == "imagenet"
    with pytest.raises(ValueError, match=r"`output_stride`.*\[8, 4, 2\].*16"):
        run(16)
    with pytest.raises(ValueError, match="produce images of 64 x 64.*32, 32"):
        run(4, transforms=(Resize((64, 64)),))


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("classification", {"label_smoothing": 1}, r"must lie in \[0, 1\)"),
        ("classification", {"label_smoothing": "0.1"}, "a finite number"),
        ("classification", {"name": 3}, "`name` must be a string"),
        ("deeplab_aspp", {"output_stride": 3}, "`output_stride` must be one"),
        ("deeplab_aspp", {"rates": 6}, "`rates` must be a tuple"),
        ("deeplab_aspp", {"rates": ()}, "`rates` must be a tuple"),
        ("deeplab_aspp", {"rates": (0, 6)}, "`rates` must be 1 or more"),
        ("deeplab_aspp", {"rates": (6, 6)}, "`rates` must be.*each once"),
        ("deeplab_aspp", {"bn_mode": "odd"}, "`bn_mode` must be one of"),
        ("deeplab_v3_plus", {"rates": (1.5,)}, "`rates` must be a whole"),
        ("deeplab_v3_plus", {"projection_filters": 0}, "must be 1 or more"),
        ("deeplab_v3_plus", {"implementation": 1}, "`implementation` must be"),
        ("faster_rcnn", {"rpn_filters": 0}, "`rpn_filters` must be 1 or more"),
        ("faster_rcnn", {"head_samples": 3}, "must be 4 or more"),
        ("faster_rcnn", {"crop_size": "14"}, "`crop_size` must be a whole"),
        ("faster_rcnn", {"anchor_scales": (0,)}, "`anchor_scales` must be ab"),
        ("faster_rcnn", {"trainable": "no"}, "`trainable` must be True or"),
        ("retinanet", {"anchor_size": 0}, "`anchor_size` must be above 0"),
        ("retinanet", {"implementation": "hub"}, "`implementation` must be on"),
        ("yolo_v8", {"depth": 0}, "`depth` must be 1 or more"),
        ("pose", {"radius": 0}, "`radius` must be above 0"),
        ("pose", {"radius": float("nan")}, "`radius` must be a finite"),
        ("pose", {"loss_weights": (1,)}, "`loss_weights` must be two"),
        ("pose", {"flip_test": True}, "`keypoint_names` must name every"),
    ],
)
def test_the_options_of_a_head_are_checked(head, options, message):
    with pytest.raises(ValueError, match=message):
        Transfer(head=head, head_options=options)


def test_a_head_has_no_more_classes_than_it_can_tell_apart():
    assert Transfer(head="faster_rcnn", num_classes=300).num_classes == 300
    with pytest.raises(ValueError, match=r"`num_classes` must be in 2..255"):
        Transfer(head="deeplab_aspp", num_classes=300)
    with pytest.raises(ValueError, match="2 names, num_keypoints=3"):
        Transfer(
            head="pose",
            num_classes=3,
            head_options={"keypoint_names": ("left_eye", "right_eye")},
        )


def test_a_run_without_options_that_its_data_sets_need_is_refused():
    shown = {"options": {"task": "classification"}}

    def run(pretrain=None, transfer=shown, evaluation=shown):
        return jft.scaling.Run(
            pretrain=Pretrain(**pretrain or {}),
            transfer=Transfer(**transfer),
            evaluation=Evaluation(**evaluation),
        )

    folder = {"dataset": "image_folder"}
    for part in ("pretrain", "transfer", "evaluation"):
        with pytest.raises(ValueError, match=r"'image_folder' needs.*direct"):
            run(**{part: folder})
        run(**{part: {**folder, "options": {"directory": "photos"}}})


def test_runs_on_record_keep_their_keys():
    """Those of earlier versions, too, of which these are some."""
    saved = pathlib.Path(__file__).parent / "saved" / "rows.jsonl"
    for row in map(json.loads, saved.read_text().splitlines()):
        parts = {
            name: config(**row["config"][name])
            for name, config in (
                ("pretrain", Pretrain),
                ("transfer", Transfer),
                ("evaluation", Evaluation),
            )
        }
        assert config_id(jft.scaling.Run(**parts)) == row["key"]


def test_every_recipe_is_a_config_that_is_accepted():
    recipes = [*jft.pretrain.RECIPES.values()]
    for head in jft.transfer.RECIPES.values():
        recipes += head.values()
    for config in recipes:
        assert dataclasses.replace(config) == config


@pytest.mark.parametrize(
    "dataset, task", [("coco", "segmentation"), ("camvid", "detection")]
)
def test_an_evaluation_has_the_task_of_its_data_set(dataset, task):
    folder = {"directory": "photos"}
    with pytest.raises(ValueError, match=f"`task` must be .*{dataset}"):
        Evaluation(dataset=dataset, task=task, options=folder)
    right = jft.data.ANNOTATED_FOR[dataset]
    assert Evaluation(dataset=dataset, task=right, options=folder).task == right
