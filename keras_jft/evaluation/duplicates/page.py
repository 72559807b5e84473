"""A page of the near-duplicates between two data sets."""

import dataclasses
import os
import pathlib
import tempfile

import numpy as np

from keras_jft import data as data_lib
from keras_jft import files, html_page
from keras_jft.data.transforms import Resize
from keras_jft.evaluation.duplicates import search
from keras_jft.evaluation.duplicates.embedding import (
    Embeddings,
    embed,
    thumbnails,
)
from keras_jft.evaluation.duplicates.gallery import gallery, near
from keras_jft.evaluation.duplicates.pixels import correlation
from keras_jft.text import number_of

_PAIRS = 36
# Of the pairs in the training and validation images of Tiny ImageNet (32 px)
# that thumbnails find, those of this correlation of pixels or more are copies.
THRESHOLD = 0.97


def report(
    queries: data_lib.Dataset,
    references: data_lib.Dataset,
    path: str | os.PathLike,
    threshold: float = THRESHOLD,
) -> tuple[search.Duplicates, pathlib.Path]:
    """Find near-duplicates between two data sets, and show them on a page.

    Images are compared by thumbnails, and the pairs that these find by more of
    their pixels (`confirmed`). The page shows the pairs on both sides of the
    threshold, for a person to judge it.

    Args:
        queries: A `Dataset`, such as the images to evaluate on.
        references: A `Dataset`, such as those of pre-training.
        path: The page, `*.html`.
        threshold: Similarity from which two images are duplicates.

    Returns:
        The `Duplicates`, and the path of the page.

    Raises:
        ValueError: `path` is not `*.html`; or as `find` does.
    """
    html_page.check_path(path)
    with tempfile.TemporaryDirectory() as folder:
        found = search.find(
            _embedded(queries, pathlib.Path(folder, "queries")),
            _embedded(references, pathlib.Path(folder, "references")),
            threshold,
        )
    found = confirmed(found, queries, references)
    return found, write_page(found, queries, references, path)


def confirmed(
    found: search.Duplicates,
    queries: data_lib.Dataset,
    references: data_lib.Dataset,
) -> search.Duplicates:
    """Return what thumbnails have found, judged by more of the pixels.

    Different objects on a plain background may have the same thumbnail. The
    similarity of a duplicate becomes the `correlation` of its pixels, if that
    is lower.

    Args:
        found: The result of `find` with embeddings by `thumbnails`.
        queries: The `Dataset` of its queries.
        references: The `Dataset` of its references.
    """
    similarity = np.array(found.similarity)
    for row in np.flatnonzero(found.is_duplicate):
        pixels = correlation(
            _images(queries)(found.ids[row]),
            _images(references)(found.best_ids[row]),
        )
        similarity[row] = min(similarity[row], pixels)
    return dataclasses.replace(found, similarity=similarity)


def write_page(
    found: search.Duplicates,
    queries: data_lib.Dataset,
    references: data_lib.Dataset,
    path: str | os.PathLike,
) -> pathlib.Path:
    """Write a page with the pairs nearest to the threshold; return its path.

    The picture on it is also written beside it, as SVG.

    Args:
        found: Near-duplicates.
        queries: The `Dataset` of its queries.
        references: The `Dataset` of its references.
        path: The page, `*.html`.
    """
    count = int(found.is_duplicate.sum())
    figure = gallery(
        found,
        near(found, min(_PAIRS, len(found.ids))).tolist(),
        _images(queries),
        _images(references),
    )
    picture = html_page.svg_of(figure)
    files.write_bytes(html_page.check_path(path).with_suffix(".svg"), picture)
    text = (
        f"Of {number_of(len(found.ids), 'image')}, "
        f"{number_of(count, 'has', 'have')} a near-duplicate among "
        f"{len(references):,}, at a similarity of {found.threshold} or more."
    )
    blocks = [
        html_page.Text(text),
        html_page.Text(
            "Are the pairs with red numbers the same picture, and the others "
            "different ones? If not, move the threshold."
        ),
        html_page.Pictures((html_page.Picture(picture, "Pairs of images"),)),
    ]
    page, _ = html_page.write(path, "Near-duplicates", blocks)
    return page


def _embedded(data: data_lib.Dataset, folder: pathlib.Path) -> Embeddings:
    found = embed(thumbnails(), data, folder, transforms=(Resize((32, 32)),))
    assert found is not None  # It made all shards.
    return found


def _images(data):
    """Return a function from an id to its image."""

    def image(name):
        return data_lib.select(data, [name])[0]["images"]

    return image
