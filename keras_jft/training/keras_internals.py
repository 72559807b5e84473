"""Every private name of Keras and TensorFlow that the package relies on.

Any release may rename them, so each is used here alone, by a function that says
what it is needed for. All were tried on Keras 3.15.1 with TensorFlow 2.21.0, on
the backends TensorFlow and JAX; `setup.cfg` allows no later minor version. To
allow one, run `tests/training/test_keras_internals.py` on it: every name is
tested there for what the package needs of it.

TensorFlow is never imported here: what is said of it works on its objects.
"""

import keras

# === Layers, their variables and outputs ===


def operation_of(tensor):
    """Return the layer whose output a `KerasTensor` is.

    A backbone tells KerasCV the layer of each level of its pyramid; Keras's
    public functions go from layers to tensors only.
    """
    return tensor._keras_history.operation


def flatten_layers(layer):
    """Return a layer or model and all layers in it, at any depth.

    `model.layers` has neither layers inside of layers, such as an attribute of
    a custom one, nor the model itself, which may have weights of its own.
    """
    return layer._flatten_layers(include_self=True, recursive=True)


def own_variables(layer):
    """Return the variables of a layer without those of the layers in it.

    In this order Keras writes them to `.weights.h5` and `.keras` files, where
    they have numbers and no names. `layer.weights` includes inner layers.
    """
    return layer._trainable_variables + layer._non_trainable_variables


def automatic_name(layer):
    """Return the name that Keras gives the first layer of this class.

    Files of one process have other numbers behind it than those of the next.
    """
    return keras.src.utils.naming.to_snake_case(type(layer).__name__)


def move_variable(variable, value):
    """Let a Keras variable stand for another `tf.Variable`.

    Args:
        variable: A `keras.Variable` made under a parameter-server strategy.
        value: A `tf.Variable` on the chief. Metrics, which only the chief
            updates, would otherwise go over the network in each step.
    """
    variable._initialize(value)


# === Optimizers ===


def variable_of(optimizer, value):
    """Return the Keras variable that `optimizer.update_step` is to update.

    Args:
        optimizer: A built `keras.optimizers.Optimizer`.
        value: What `update_step` is given: a `keras.Variable`, or on
            TensorFlow the `tf.Variable` inside one, without its path.
    """
    index = optimizer._get_variable_index(value)
    return optimizer._trainable_variables[index]


def mean_squares(optimizer):
    """Return the running means of squared gradients of a built RMSProp.

    In the order of its variables; None stands for one that has no such mean.
    """
    return optimizer._velocities


# === `fit` ===


class HookedModel(keras.Model):
    """A `keras.Model` some of whose private steps can be overridden.

    Keras's loops call the private methods; a subclass overrides the hooks,
    whose names are ours. By default they do what Keras does.
    """

    def _step_to_compile(self, step):
        """Return what is compiled in place of a step of `fit` or `evaluate`.

        Logs of several workers need another shape before Keras averages them.
        """
        return step

    def _build_from_data(self, iterator=None, data_batch=None):
        """Build what needs a batch: layers, metrics, loss.

        Keras averages a batch over replicas to learn its shape, which fails
        where replicas are in other processes. TensorFlow calls this alone.
        """
        super()._maybe_symbolic_build(iterator, data_batch)

    def _logs_of_epoch(self, logs):
        """Return the logs of an epoch or an evaluation from the last step's.

        Keras returns no metric that steps left out, such as one that is
        computed once, over all images.
        """
        return super()._get_metrics_result_or_logs(logs)

    def _make_function(self, step_function, **kwargs):
        step = self._step_to_compile(step_function)
        return super()._make_function(step, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        self._build_from_data(iterator, data_batch)

    def _get_metrics_result_or_logs(self, logs):
        return self._logs_of_epoch(logs)


def begin_at(model, epoch):
    """Let a `fit` that has called `on_train_begin` begin at another epoch.

    As `keras.callbacks.BackupAndRestore` does it.

    Args:
        model: A `keras.Model`.
        epoch: Number of the epoch, from 0; None: as `fit` was told.
    """
    model._initial_epoch = epoch


def model_of(callback):
    """Return the model of a callback, whose state may be out of date on JAX.

    There `callback.model` copies the state of training into the model, which a
    callback that looks at a setting in every step must not wait for.
    """
    return callback._model


def loss_tracker(model):
    """Return the metric that is the `loss` in the logs of a compiled model.

    A step of our own updates it, as the one of Keras does.
    """
    return model._loss_tracker


def is_built(model):
    """Whether a compiled model, its loss, metrics and optimizer are built."""
    parts = (model._compile_loss, model._compile_metrics, model.optimizer)
    return model.built and all(part is None or part.built for part in parts)


def symbolic_build(model, batch):
    """Build the layers, loss and metrics of a compiled model for a batch.

    Args:
        model: A compiled `keras.Model`.
        batch: Tensors or `tf.TensorSpec`s; only shapes and types are read.
    """
    model._symbolic_build(data_batch=batch)


# === tf.distribute ===


def strategy_of(model):
    """Return the `tf.distribute.Strategy` a model was made under, or None.

    `model.distribute_strategy` gives the default strategy in place of None,
    and is not there on other backends.
    """
    return getattr(model, "_distribute_strategy", None)


def spans_workers(strategy):
    """Whether a `tf.distribute.Strategy` has replicas in other processes.

    A `MultiWorkerMirroredStrategy` of a single worker has none.
    """
    return strategy.extended._in_multi_worker_mode()


def cluster_resolver(strategy):
    """Return the cluster resolver of a `ParameterServerStrategy`.

    The public `strategy.cluster_resolver` of this one strategy is None.
    """
    return strategy._cluster_resolver


# === tf.data ===

ELEMENT_BY_ELEMENT = {
    "_MapDataset",
    "_ParallelMapDataset",
    "_PrefetchDataset",
    "_OptionsDataset",
}
"""Classes that give one element for each that they read, in the same order:
`map`, `prefetch` and `with_options`. After them a position is still known."""


def datasets_before(dataset):
    """Return the `tf.data.Dataset`s that one reads from directly.

    A checkpoint looks for its source behind `map` and `prefetch`.
    """
    return dataset._inputs()


def shuffle_seeds(dataset):
    """Return the two seeds of a `shuffle`; None for another data set.

    Both are 0 where none is set, which workers must not be given: each would
    draw an order of its own.
    """
    if type(dataset).__name__ != "_ShuffleDataset":
        return None
    return int(dataset._seed), int(dataset._seed2)
