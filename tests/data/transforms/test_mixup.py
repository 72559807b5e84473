"""Mixed batches against the dense formula; resumable like others."""

import numpy as np
import pytest
from scipy import stats

from keras_jft.data import batches, check_batch, iterate, mixup


def _dense(labels, weights=None):
    dense = np.zeros((len(labels), 10))
    weights = np.ones(labels.shape) if weights is None else weights
    for row, ids in enumerate(labels):
        for slot, label in enumerate(ids):
            if label >= 0:
                dense[row, label] += weights[row, slot]
    return dense


@pytest.fixture
def batch(rng):
    labels = np.stack([rng.permutation(9)[:3] for _ in range(8)])
    labels[rng.random((8, 3)) < 0.3] = -1
    return {
        "images": rng.integers(0, 256, (8, 4, 5, 3), "uint8"),
        "labels": labels.astype("int32"),
        "ids": np.arange(8),
    }


def test_pixels_and_labels_are_mixed_in_the_same_shares(batch):
    for seed in range(20):
        mixed = mixup(batch, np.random.default_rng(seed), alpha=1.0)
        check_batch(mixed, num_classes=9)
        assert mixed["images"].dtype == np.uint8
        y = _dense(mixed["labels"], mixed["label_weights"])
        assert y.max() <= 1 + 1e-6, "a label of both counts once"
        before = batch["images"].astype(float)
        own, others = _dense(batch["labels"]), set()
        for row in range(8):
            # Which partner, and by what share, explains the pixels?
            fits = []
            for other in set(range(8)) - {row}:
                d = (before[row] - before[other]).ravel()
                gap = (mixed["images"][row] - before[other]).ravel()
                share = float(gap @ d / (d @ d))
                error = abs(gap - share * d).max()
                fits.append((error, other, share))
            error, other, share = min(fits)
            assert error < 2
            expected = share * own[row] + (1 - share) * own[other]
            np.testing.assert_allclose(y[row], expected, atol=0.01)
            others.add(other)
        assert others == set(range(8)), "each is a partner once"


def test_shares_are_drawn_from_the_beta_distribution():
    size = 4000
    batch = {
        "images": np.zeros((size, 1, 1, 3), "uint8"),
        "labels": np.arange(size, dtype="int32"),
    }
    mixed = mixup(batch, np.random.default_rng(0), alpha=0.4)
    assert (mixed["labels"][:, 0] == np.arange(size)).all()
    shares = mixed["label_weights"][:, 0]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.001
    np.testing.assert_allclose(mixed["label_weights"].sum(1), 1, rtol=1e-6)


def test_what_cannot_be_mixed_is_refused(batch, rng):
    masks = np.zeros((8, 4, 5, 1), "uint8")
    with pytest.raises(ValueError, match=r"Leave \['segmentation_masks'\]"):
        mixup({**batch, "segmentation_masks": masks}, rng)
    with pytest.raises(ValueError, match="Only images and their labels"):
        mixup({"images": batch["images"]}, rng)
    with pytest.raises(ValueError, match="above 0"):
        mixup(batch, rng, alpha=0.0)


def test_the_pipeline_mixes_alike_when_it_is_resumed(make_data):
    def passes(**options):
        source = iterate(make_data(12), 4, mixup=0.4, training=True, **options)
        return [batch for _ in range(2) for batch in source]

    whole, resumed = passes(), passes(initial_step=2, workers=1)
    for batch, other in zip(whole[2:], resumed, strict=False):
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])
    assert whole[0]["labels"].shape == (4, 6)
    plain = next(iter(iterate(make_data(12), 4, training=True)))
    assert (plain["images"] != whole[0]["images"]).any()
    assert "label_weights" not in next(iter(iterate(make_data(9), 4, mixup=1)))


def test_tf_data_gives_the_same(make_data):
    pytest.importorskip("tensorflow")
    for many in (True, False):
        data = make_data(8, max_labels=3 if many else None)
        if not many:
            for i, example in enumerate(data.examples):
                example["labels"] = np.int32(i)
        options = {"mixup": 0.4, "training": True}
        expected = list(iterate(data, 4, **options))
        dataset = batches(data, 4, **options)
        width = (6,) if many else (None,)
        assert dataset.element_spec["labels"].shape[1:] == width
        for batch, other in zip(dataset, expected, strict=True):
            for key, value in other.items():
                np.testing.assert_array_equal(batch[key].numpy(), value)
