"""The same search over many machines: one shard a task, then a merge.

`find_in_shard` and `merge` are all there is to it; `find_with_beam` hands them
to Apache Beam. docs/duplicates.md has the arithmetic for 300M images.
"""

import functools

from keras_jft.evaluation.duplicates.embedding import Embeddings
from keras_jft.evaluation.duplicates.search import find, merge


def find_in_shard(number, *, queries, references, threshold, method="float32"):
    """The best of one shard for each query.

    Args:
        number: Which shard.
        queries: Folder of the queries' embeddings.
        references: Folder of the references' embeddings.
        threshold: As for `find`.
        method: As for `find`.

    Returns:
        A `Duplicates`, to be merged with those of the other shards.
    """
    embeddings = Embeddings(references)
    return find(
        Embeddings(queries),
        [embeddings.read(number)],
        threshold,
        method=method,
        first=embeddings.starts[number],
    )


def find_parallel(queries, references, threshold, *, map=map, method="float32"):
    """`find` over folders of embeddings, shard by shard, by any `map`.

    Args:
        queries: Folder of the queries' embeddings.
        references: Folder of the references' embeddings.
        threshold: As for `find`.
        map: A function like the built-in one, such as the `map` of a
            `concurrent.futures.ProcessPoolExecutor`.
        method: As for `find`.

    Returns:
        The `Duplicates` of all references.
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
    pipeline, queries, references, threshold, *, method="float32"
):
    """`find` over folders of embeddings as steps of a Beam pipeline.

    Args:
        pipeline: A `beam.Pipeline`.
        queries: Folder of the queries' embeddings, which all workers see.
        references: Folder of the references' embeddings, likewise.
        threshold: As for `find`.
        method: As for `find`.

    Returns:
        A `PCollection` of one `Duplicates`.

    Raises:
        ImportError: Beam is not installed.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError(
            "find_with_beam needs Apache Beam: `pip install "
            "keras_jft[beam]`. `find_parallel` needs nothing."
        ) from error
    shards = range(len(Embeddings(references).shards))
    return (
        pipeline
        | "shards" >> beam.Create(shards)
        # Else neighboring steps would run in one worker.
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
    """`merge`, as Beam calls it: with any number of parts, also none."""
    parts = [part for part in parts if part is not None]
    return merge(parts) if parts else None
