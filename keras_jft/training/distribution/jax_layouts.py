"""Layouts of variables and outputs on several devices, for JAX."""

import contextlib

import keras
from keras import distribution, ops, tree

from keras_jft import checks
from keras_jft.training import keras_internals


def layout_map(
    device_mesh: keras.distribution.DeviceMesh, axis: str = "model"
) -> keras.distribution.LayoutMap:
    """Return layouts that split a wide head, for `keras.distribution`.

    The kernels of the head (`head_logits`) and the optimizer's slots for them
    are split by rows, one per feature. Each device multiplies its own features,
    and the logits are the sum over devices. So the number of features (2,048 in
    a ResNet-101) must be divisible by the number of devices, but not the number
    of labels, such as 18,291. Each device has a copy of everything else.
    Layouts of other variables can be added to the map.

    Args:
        device_mesh: A `keras.distribution.DeviceMesh`.
        axis: Name of its axis that the kernels are split over. Its size
            divides the number of features.

    Returns:
        A `keras.distribution.LayoutMap`, for `ModelParallel`.

    Raises:
        ValueError: If the mesh does not have this axis.

    Example:

    >>> mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), [0])
    >>> layouts = keras_jft.training.layout_map(mesh)
    >>> layouts["head_logits/kernel"].axes
    ('model', None)
    """
    checks.one_of("axis", axis, device_mesh.axis_names)
    layouts = distribution.LayoutMap(device_mesh)
    layouts[r"(.*/)?head_logits/kernel(_\d+)?"] = (axis, None)
    return layouts


def whole(outputs):
    """Return `outputs` of a compiled step with all rows on every process.

    Otherwise, a process could not read rows on the devices of another one.
    """
    current = distribution.distribution()
    if current is None:
        return outputs

    def replicate(output):
        axes = [None] * len(output.shape)
        layout = distribution.TensorLayout(axes, current.device_mesh)
        return distribution.distribute_tensor(output, layout)

    return tree.map_structure(replicate, outputs)


def on_host(variable):
    """Return the whole value of a variable as an array of this process.

    If the devices of several processes hold a part each, all of the processes
    must call this, for the same variables in the same order.
    """
    if _is_split(variable):
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(variable.value, tiled=True)
    return ops.convert_to_numpy(variable)


@contextlib.contextmanager
def gathered(model):
    """Let one process alone save a model, within a block.

    Keras saves what its process can read, and fails at a part that another one
    holds. It also creates variables, to see what attributes they have: under a
    distribution that takes all processes. As `on_host`, all must call this.
    """
    if not _are_several_processes():
        yield
        return
    variables = [*model.variables, *getattr(model.optimizer, "variables", ())]
    split = [(v, on_host(v)) for v in variables if _is_split(v)]
    current = distribution.distribution()
    distribution.set_distribution(None)
    try:
        with keras_internals.values_replaced(split):
            yield
    finally:
        distribution.set_distribution(current)


def _is_split(variable):
    """Return whether another process holds a part that this one does not."""
    if not _are_several_processes():
        return False
    value = variable.value
    return not (value.is_fully_addressable or value.is_fully_replicated)


def _are_several_processes():
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.process_count() > 1
