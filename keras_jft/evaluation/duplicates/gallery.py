"""Pairs of images side by side, for a person to judge a threshold."""

import numpy as np

from keras_jft.pages import drawable


def near(duplicates, num_pairs, threshold=None):
    """The pairs nearest to a threshold, the most similar first.

    Args:
        duplicates: What `find` gave.
        num_pairs: How many, half of them on each side where there are.
        threshold: By default that of `duplicates`.

    Returns:
        Positions of the queries.
    """
    threshold = duplicates.threshold if threshold is None else threshold
    order = np.argsort(-duplicates.similarity, kind="stable")
    above = int((duplicates.similarity >= threshold).sum())
    start = min(max(0, above - num_pairs // 2), max(0, len(order) - num_pairs))
    return order[start : start + num_pairs]


def gallery(duplicates, rows, queries, references, columns=6, notes=None):
    """A figure of pairs: a query above its best reference.

    Args:
        duplicates: What `find` gave.
        rows: Positions of the queries to show, such as `near` gives.
        queries: A function from the id of a query to its image, `(H, W, 3)`
            uint8.
        references: The same for `best_ids`.
        columns: Pairs side by side.
        notes: Words under a pair, one of each of `rows`.

    Returns:
        A matplotlib `Figure`; `savefig` writes it.

    Raises:
        ValueError: There are no pairs to show.
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
