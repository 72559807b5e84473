import numpy as np
import pytest

from keras_jft.scaling import paper_table
from keras_jft.scaling.paper import paper


def row(seed=0, task="detection", **columns):
    return {"task": task, "mode": "frozen", "seed": seed, **columns}


def test_without_rows_a_table_is_the_papers():
    table = paper_table(1)
    assert table.scores.loc["Top-1", "Fine-tune from JFT-300M"] == 79.2
    assert table.scores.shape == (2, 3)
    assert table.faults == ()
    assert str(table).splitlines()[0] == f"Table 1: {table.title}"


def test_yours_are_means_over_seeds_in_percent():
    rows = [
        row(seed, num_examples=n, ap=ap, ap50=2 * ap)
        for n, ap in ((1_000, 0.1), (10_000, 0.2))
        for seed, ap in ((0, ap), (1, ap + 0.02))
    ]
    scores = paper_table(9, rows).scores
    yours = scores.loc[:, [c for c in scores if c.startswith("yours")]]
    assert list(yours) == ["yours: frozen, 1,000", "yours: frozen, 10,000"]
    np.testing.assert_allclose(yours.loc["mAP@[.5,.95]"], [11, 21])
    np.testing.assert_allclose(yours.loc["mAP@.5"], [22, 42])
    assert yours.loc["mAP@.5, without duplicates"].isna().all()


def test_percent_stays_percent_and_columns_are_what_one_asks_for():
    rows = [row(ap=ap, recipe=r) for ap, r in ((0.5, "old"), (31.0, "new"))]
    scores = paper_table(6, rows, by="recipe").scores
    assert scores["yours: new"].tolist() == [31.0]
    assert scores["yours: old"].tolist() == [0.5]
    rows = [row(ap=0.1, tail=tail) for tail in (0.8, 1.6, True)]
    names = [f"yours: {said}" for said in ("0.8", "True", "1.6")]
    assert list(paper_table(6, rows, by="tail").scores)[2:] == names
    rows = [row(ap=ap, recipe=r) for ap, r in ((0.5, "old"), (31.0, "new"))]
    both = paper_table(6, rows, by=()).scores
    assert both["yours"].tolist() == [15.75]


def test_rows_of_other_tasks_and_failed_ones_do_not_count():
    rows = [
        row(miou=0.5, task="segmentation"),
        row(voc_ap=0.6),
        {**row(voc_ap=0.9), "error": "ValueError"},
        row(ap=0.9, task="pose"),
    ]
    scores = paper_table(10, rows).scores["yours: frozen"]
    assert scores["VOC 2007 mAP@.5"] == pytest.approx(60)
    assert scores["VOC 2012 mIOU"] == pytest.approx(50)


def test_epochs_are_those_of_the_pre_training():
    rows = [
        row(
            arm=f"{epochs} epochs",
            ap=0.1,
            config={"pretrain": {"epochs": epochs}},
        )
        for epochs in (4, 8)
    ] + [row(arm="by steps", ap=0.2, config={"pretrain": {"epochs": None}})]
    scores = paper_table(4, rows, by="arm").scores
    assert scores.loc["epochs", "36M steps"] == 4.0
    yours = scores.loc["epochs", ["yours: 4 epochs", "yours: 8 epochs"]]
    assert yours.tolist() == [4, 8]
    assert np.isnan(scores.loc["epochs", "yours: by steps"])
    assert scores.loc["mAP@[.5,.95]", "yours: by steps"] == 20


def test_classes_stand_beside_the_papers_by_name():
    rows = [
        row(seed, task="segmentation", miou=0.4, per_class=scores)
        for seed, scores in ((0, [0.9, 0.2, None]), (1, [0.7, 0.4, 0.1]))
    ]
    names = ["background", "person", "traffic cone"]
    scores = paper_table(12, rows, by=[], class_names=names).scores
    yours = scores["yours"]
    assert yours["bg"] == pytest.approx(80)
    assert yours["persn"] == pytest.approx(30)
    assert yours["traffic cone"] == pytest.approx(10)
    assert np.isnan(yours["boat"])
    assert np.isnan(scores.loc["traffic cone", "300M"])
    assert yours["mIOU"] == pytest.approx(40)


def test_the_known_faults_of_a_table_are_said_below_it():
    table = paper_table(14)
    assert [f.where for f in table.faults] == ["Table 14", "Table 14"]
    text = str(table)
    assert all(str(fault) in text for fault in table.faults)
    assert str(paper.FAULTS[0]) not in text


def test_what_cannot_be_filled_in_is_refused():
    with pytest.raises(ValueError, match="must be one of"):
        paper_table(15)
    with pytest.raises(ValueError, match=r"Table 1 needs rows with .*'top1'"):
        paper_table(1, [row(ap=0.5)])
    with pytest.raises(ValueError, match=r"Table 4 needs rows with .*'ap'"):
        paper_table(4, [row(top1=0.5, config={"pretrain": {"epochs": 4}})])
    rows = [row(task="segmentation", miou=0.4, per_class=[0.1, 0.2])]
    with pytest.raises(ValueError, match="the 3 classes of `class_names`"):
        paper_table(12, rows, class_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="no column"):
        paper_table(12, rows, by="recipe")
