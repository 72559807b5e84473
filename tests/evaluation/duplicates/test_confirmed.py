"""Pairs that thumbnails take for copies are judged by more of their pixels."""

import numpy as np
from PIL import Image

import keras_jft as jft

dup = jft.evaluation.duplicates


def _folder(path, **images):
    (path / "a").mkdir(parents=True)
    for name, pixels in images.items():
        Image.fromarray(pixels).save(path / "a" / f"{name}.png")
    return jft.data.load("image_folder", directory=path, split=None)


def test_different_objects_on_one_background_are_no_duplicates(tmp_path):
    ground = np.linspace(60, 190, 32)[:, None] + np.zeros((32, 32))
    # Thumbnails of 8 x 8 pixels average these patterns out.
    board = np.indices((32, 32)).sum(axis=0) % 2 * 80 - 40
    stripes = np.indices((32, 32))[1] % 4 // 2 * 80 - 40
    one, other = (
        np.repeat(np.uint8(ground + detail)[..., None], 3, axis=-1)
        for detail in (board, stripes)
    )
    queries = _folder(tmp_path / "queries", copy=one + 3, new=other)
    references = _folder(tmp_path / "references", board=one)
    by_thumbnails = dup.find(
        dup.embed(dup.thumbnails(), queries, tmp_path / "q"),
        dup.embed(dup.thumbnails(), references, tmp_path / "r"),
        dup.THRESHOLD,
    )
    assert by_thumbnails.is_duplicate.all()
    page = tmp_path / "page.html"
    found, _ = dup.report(queries, references, page)
    assert found.duplicate_ids.tolist() == ["a/copy.png"]
    assert found.similarity[1] < 0.9
    assert b"<svg" in page.with_suffix(".svg").read_bytes()
    assert "Of 2 images, 1 has a near-duplicate among" in page.read_text(
        "utf-8"
    )
