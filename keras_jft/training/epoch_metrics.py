"""Metrics over a whole epoch, computed at its end.

A metric with the attribute `result_at_epoch_end` sorts all that it has seen,
which is too slow for every step, and its state is as large as a test set.
Training steps skip it; `evaluate`, and the validation of `fit`, compute it
once, at the end.
"""

import contextlib


def waiting(model):
    """Return the metrics of a model that wait for the end of an epoch."""
    return [part for part in _parts(model) if _waits(part)]


@contextlib.contextmanager
def passed_by(model):
    """Keep a training step from updating the metrics that wait."""
    metrics = waiting(model)
    for metric in metrics:
        metric.update_state = lambda *args, **kwargs: None
    # Replicas run in turns: the second enters before the first has left.
    model._train_steps += 1
    try:
        yield
    finally:
        model._train_steps -= 1
        if not model._train_steps:
            for metric in metrics:
                del metric.update_state


def results_of_others(model):
    """Return `{name: value}` of the metrics that do not wait."""
    return {
        part.name: part.result() for part in _parts(model) if not _waits(part)
    }


def _parts(model):
    # The metrics of `compile` are in one container with one result.
    return [
        part
        for metric in model.metrics
        for part in getattr(metric, "metrics", [metric])
    ]


def _waits(metric):
    return getattr(metric, "result_at_epoch_end", False)
