"""Show pairs of images side by side, for a person to judge a threshold."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_jft.evaluation.duplicates.search import Duplicates
from keras_jft.html_page import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def near(
    duplicates: Duplicates, num_pairs: int, threshold: float | None = None
) -> np.ndarray:
    """Return the pairs nearest to a threshold, most similar first.

    Args:
        duplicates: The result of `find`.
        num_pairs: Number of pairs, half of them on each side if possible.
        threshold: The threshold; None: that of `duplicates`.

    Returns:
        Positions of the queries.
    """
    threshold = duplicates.threshold if threshold is None else threshold
    order = np.argsort(-duplicates.similarity, kind="stable")
    above = int((duplicates.similarity >= threshold).sum())
    start = min(max(0, above - num_pairs // 2), max(0, len(order) - num_pairs))
    return order[start : start + num_pairs]


def gallery(
    duplicates: Duplicates,
    rows: Sequence[int],
    queries: Callable[[Any], np.ndarray],
    references: Callable[[Any], np.ndarray],
    columns: int = 6,
    notes: Sequence[str] | None = None,
) -> "Figure":
    """Plot pairs of images, each a query above its best reference.

    Args:
        duplicates: The result of `find`.
        rows: Positions of the queries to show, such as those from `near`.
        queries: A function from the id of a query to its image, `(H, W, 3)`
            uint8.
        references: The same for `best_ids`.
        columns: Number of pairs side by side.
        notes: A string to show with each pair, one for each of `rows`.

    Returns:
        A Matplotlib `Figure`; `savefig` writes it.

    Raises:
        ValueError: If there are no pairs to show.
    """

    from matplotlib.figure import Figure

    if not len(rows):
        raise ValueError("`rows` must name pairs to show. Received none.")
    height = -(-len(rows) // columns)
    figure = Figure(
        figsize=(1.35 * columns, 2.9 * height), layout="constrained"
    )
    axes = np.reshape(figure.subplots(2 * height, columns), (-1, columns))
    for axis in axes.ravel():
        axis.axis("off")
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        top, bottom = axes[2 * line, column], axes[2 * line + 1, column]
        top.imshow(queries(duplicates.ids[row]))
        bottom.imshow(references(duplicates.best_ids[row]))
        similarity = duplicates.similarity[row]
        found = similarity >= duplicates.threshold
        top.set_title(
            f"{similarity:.3f}",
            fontsize=9,
            pad=3,
            color="C3" if found else "0.4",
        )
        if notes is not None:
            bottom.set_title(
                drawable(notes[place]), fontsize=7, pad=2, color="0.4"
            )
    figure.suptitle(
        f"a query above its best reference; red: at {duplicates.threshold:.3f} "
        "or more",
        fontsize=9,
    )
    return figure
