import configparser
import pathlib

import numpy as np
import pytest

from keras_jft.scaling.paper import paper

ROOT = pathlib.Path(__file__).parents[2]


def lines_of(number):
    return {
        line["name"]: np.array(line["values"])
        for line in paper.tables()[number]["lines"]
    }


def test_all_tables_are_there_and_a_wheel_takes_them_along():
    assert sorted(paper.tables()) == list(range(1, 15))
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packed = setup["options.package_data"]["keras_jft.scaling.paper"]
    assert packed.split() == ["paper.json"]


@pytest.mark.parametrize("number", range(1, 15))
def test_a_line_has_a_number_for_every_column(number):
    table = paper.tables()[number]
    for line in table["lines"]:
        assert len(line["values"]) == len(table["columns"]), line
    names = [line["name"] for line in table["lines"]]
    assert len(set(names)) == len(names)


def test_tables_that_print_the_same_numbers_agree():
    # Table 8 repeats Table 1, Table 11 parts of Table 2, Table 13 of Table 7.
    for name in ("Top-1", "Top-5"):
        assert (lines_of(1)[name] == lines_of(8)[name]).all()
    ours = [1, 2, 3]  # ImageNet, 300M, ImageNet+300M
    assert (lines_of(2)["mAP@.5"][ours] == lines_of(11)["AP@.5"]).all()
    assert (lines_of(2)["mAP@[.5,.95]"][ours] == lines_of(11)["AP"]).all()
    for name in ("AP", "AP@.5", "AR", "AR@.5"):
        assert (lines_of(7)[name] == lines_of(13)[name]).all()
    # Tables 4, 5 and 9: the longest runs are the ImageNet and 300M columns.
    both = lines_of(9)["mAP@[.5,.95]"][:2]
    ends = [lines_of(number)["mAP@[.5,.95]"][-1] for number in (5, 4)]
    assert (both == ends).all()
    assert (lines_of(10)["VOC 2007 mAP@.5"] == lines_of(3)["mean"]).all()
    assert (lines_of(10)["VOC 2012 mIOU"] == lines_of(12)["mIOU"]).all()


@pytest.mark.parametrize(("number", "mean"), [(3, "mean"), (12, "mIOU")])
def test_the_mean_of_the_classes_is_printed_beside_them(number, mean):
    lines = lines_of(number)
    classes = [values for name, values in lines.items() if name != mean]
    assert len(classes) == {3: 20, 12: 21}[number]
    # Rounded to tenths on both sides.
    np.testing.assert_allclose(np.mean(classes, axis=0), lines[mean], atol=0.1)


def test_table_14_has_79_classes_and_the_means_of_table_11():
    lines = lines_of(14)
    mean = lines.pop('mean (printed "toothbrush")')
    assert len(lines) == 79
    assert (mean[::2] == lines_of(11)["AP(L)"]).all()
    assert (mean[1::2] == lines_of(11)["AP"]).all()
    # What the columns print as AP@.5 cannot be: AP would be above it.
    values = np.array(list(lines.values()))
    assert (values[:, 1::2] > values[:, ::2]).any()


def test_recall_as_printed_would_rise_with_the_threshold():
    lines = lines_of(11)
    names = ['AR, 1 box (printed "AR")', 'AR, 10 boxes (printed "AR@.5")']
    assert (lines[names[0]] < lines[names[1]]).all()


def test_points_and_gains_are_those_of_the_tables():
    name, points = paper.SCORES["detection", "ap"]
    assert name == "COCO minival*"
    assert points[300_000_000] == lines_of(4)["mAP@[.5,.95]"][-1]
    assert points[30_000_000] == lines_of(6)["mAP@[.5,.95]"][-1]
    imagenet, large, _ = lines_of(9)["mAP@[.5,.95]"]
    gain = paper.CAPACITY_GAINS[101]
    np.testing.assert_allclose(large - imagenet, gain)
    for key, number, line in (
        (("detection", "ap50"), 9, "mAP@.5"),
        (("detection", "voc_ap"), 3, "mean"),
        (("segmentation", "miou"), 12, "mIOU"),
    ):
        printed = paper.SCORES[key][1][300_000_000]
        assert printed == lines_of(number)[line][1]


def test_faults_are_said_in_full():
    said = [str(fault) for fault in paper.FAULTS]
    assert len(set(said)) == len(said) == 10
    assert "Section 5.3 prints atrous rates 6, 12, 8 and 24; those" in said[8]
    assert {n for f in paper.FAULTS for n in f.tables} == {5, 7, 11, 13, 14}
