"""Search on many machines: one task per shard of references, then a merge.

`find_in_shard` and `merge` do all of the work; `find_with_beam` passes them to
Apache Beam. docs/duplicates.md has the arithmetic for 300M images.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from keras_jft.evaluation.duplicates.embedding import Embeddings
from keras_jft.evaluation.duplicates.search import Duplicates, find, merge
from keras_jft.typing import PathLike


def find_in_shard(
    number: int,
    *,
    queries: PathLike,
    references: PathLike,
    threshold: float,
    method: str = "float32",
) -> Duplicates:
    """Return the best reference in one shard for each query.

    Args:
        number: Number of the shard.
        queries: Folder of the queries' embeddings.
        references: Folder of the references' embeddings.
        threshold: As for `find`.
        method: As for `find`.

    Returns:
        A `Duplicates`, to be combined with the others by `merge`.
    """
    embeddings = Embeddings(references)
    return find(
        Embeddings(queries),
        [embeddings.read(number)],
        threshold,
        method=method,
        first=embeddings.starts[number],
    )


def find_parallel(
    queries: PathLike,
    references: PathLike,
    threshold: float,
    *,
    map: Callable[..., Iterable[Any]] = map,
    method: str = "float32",
) -> Duplicates:
    """Search folders of embeddings shard by shard, with any `map` function.

    Args:
        queries: Folder of the queries' embeddings.
        references: Folder of the references' embeddings.
        threshold: As for `find`.
        map: A function like the built-in `map`, such as that of a
            `concurrent.futures.ProcessPoolExecutor`.
        method: As for `find`.

    Returns:
        The `Duplicates` over all references.
    """
    search = functools.partial(
        find_in_shard,
        queries=str(queries),
        references=str(references),
        threshold=threshold,
        method=method,
    )
    return merge(map(search, range(len(Embeddings(references).shards))))


def find_with_beam(
    pipeline: Any,
    queries: PathLike,
    references: PathLike,
    threshold: float,
    *,
    method: str = "float32",
) -> Any:
    """Search folders of embeddings in the steps of a Beam pipeline.

    Args:
        pipeline: A `beam.Pipeline`.
        queries: Folder of the queries' embeddings, readable by all workers.
        references: Folder of the references' embeddings, likewise.
        threshold: As for `find`.
        method: As for `find`.

    Returns:
        A `PCollection` of one `Duplicates`.

    Raises:
        ImportError: If Beam is not installed.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError(
            "find_with_beam needs Apache Beam: `pip install "
            "keras_jft[beam]`. `find_parallel` works without it."
        ) from error
    shards = range(len(Embeddings(references).shards))
    return (
        pipeline
        | "shards" >> beam.Create(shards)
        # Otherwise Beam would fuse the steps into one worker.
        | "spread" >> beam.Reshuffle()
        | "search"
        >> beam.Map(
            find_in_shard,
            queries=str(queries),
            references=str(references),
            threshold=threshold,
            method=method,
        )
        | "merge" >> beam.CombineGlobally(_merge_some).without_defaults()
    )


def _merge_some(parts):
    """Merge any number of parts, even none, as Beam requires."""
    parts = [part for part in parts if part is not None]
    return merge(parts) if parts else None
