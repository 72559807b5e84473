"""Every private name of Keras and TensorFlow that the package relies on.

Any release may rename them, so each is used only here, by a function that says
why it is needed. All were tried on Keras 3.15.1 with TensorFlow 2.21.0, on the
backends TensorFlow and JAX; `setup.cfg` allows no later minor version. Before
allowing one, run `tests/training/test_keras_internals.py` with it: it tests
what the package needs of each name.

This module does not import TensorFlow; it only uses objects that it receives.
"""

import contextlib
import inspect
from typing import Any

import keras

# === Layers, their variables and outputs ===


def operation_of(tensor):
    """Return the layer whose output a `KerasTensor` is.

    KerasCV needs the name of the layer of each pyramid level. Keras's public
    functions lead from layers to tensors, but not back.
    """
    return tensor._keras_history.operation


def flatten_layers(layer):
    """Return a layer or model and all layers in it, at any depth.

    `model.layers` has neither layers inside other layers, such as attributes
    of a custom layer, nor the model itself, which may have own weights.
    """
    return layer._flatten_layers(include_self=True, recursive=True)


def own_variables(layer):
    """Return the variables of a layer without those of the layers in it.

    Keras writes them in this order to `.weights.h5` and `.keras` files, which
    have numbers in place of names. `layer.weights` includes inner layers.
    """
    return layer._trainable_variables + layer._non_trainable_variables


def never_train(layer, variable):
    """Make a variable of a layer one that no setting of the layer trains.

    Setting `layer.trainable` sets that of all variables that could train when
    they were made.
    """
    variable.trainable = False
    layer._untrack_variable(variable)
    layer._tracker.unlock()  # It locks when the layer is built.
    layer._track_variable(variable)
    layer._tracker.lock()


def automatic_name(layer):
    """Return the name that Keras gives to the first layer of this class.

    Later layers of a process have a number after it.
    """
    return keras.src.utils.naming.to_snake_case(type(layer).__name__)


# === The graph of a functional model ===


def is_functional(model):
    """Whether a model is a graph of layers, not a `call` of its own."""
    return isinstance(model, keras.src.models.functional.Functional)


def calls(model):
    """Return every call in the graph of a functional model, in order.

    Public attributes of an operation tell of its first call alone, in whatever
    graph that was.

    Args:
        model: A functional model.

    Returns:
        List of `(operation, input tensors, output tensors)`. The inputs of
        each call are outputs of earlier ones; inputs of the model have no
        inputs of their own.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth]]
    return [(n.operation, n.input_tensors, n.outputs) for n in nodes]


def call_again(model, inputs, call):
    """Call the operations of a functional model on new symbolic inputs.

    `keras.models.clone_model` would end in a graph that begins at `inputs`,
    not at what they were computed from.

    Args:
        model: A functional model.
        inputs: A list of `KerasTensor`s.
        call: `call(operation, *args, **kwargs)` returns the outputs of one.

    Returns:
        The outputs, structured as those of the model.
    """
    return model._run_through_graph(inputs, call_fn=call)


def forget_calls(model):
    """Make the operations of a functional model forget where they were called.

    What they are called on next is then their `input` and `output`, which
    KerasCV reads. The model itself can still be called, but not saved.

    Args:
        model: A functional model whose layers are used nowhere else.
    """
    for operation in model.operations:
        operation._inbound_nodes.clear()
        operation._outbound_nodes.clear()


def allow_any_size(model):
    """Let a functional model, and models inside of it, take maps of any size.

    Each insists on the shape that it was built for. That of a `Sequential` does
    in the functional model that it makes of its layers.

    Args:
        model: A functional model.
    """
    for layer in flatten_layers(model):
        for net in (layer, getattr(layer, "_functional", None)):
            if isinstance(net, keras.Model):
                net.input_spec = None


def shapes_of_weights(make):
    """Return the shapes of a model's weights, without memory for them.

    Args:
        make: `make()` returns a built model, which is thrown away.
    """
    scope = keras.StatelessScope(initialize_variables=False)
    global_state = keras.src.backend.common.global_state
    waiting = global_state.get_global_attribute("uninitialized_variables")
    before = list(waiting or ())
    try:
        with scope:
            return [tuple(weight.shape) for weight in make().weights]
    finally:  # Or Keras would give them memory at its next chance.
        global_state.set_global_attribute("uninitialized_variables", before)


def layer_by_layer(model):
    """Return the config of a functional model as one of plain Keras.

    A subclass may have a config of its own, such as the arguments of its
    constructor.
    """
    plain = keras.Model(model.input, model.output, name=model.name)
    return keras.saving.serialize_keras_object(plain)


def move_variable(variable, value):
    """Replace the `tf.Variable` behind a Keras variable.

    Args:
        variable: A `keras.Variable` made under a parameter-server strategy.
        value: A `tf.Variable` on the chief. Only the chief updates metrics, and
            would otherwise send each update over the network.
    """
    variable._initialize(value)


@contextlib.contextmanager
def values_replaced(pairs):
    """Give variables other values within a block, as they are.

    `assign` would distribute a value over devices, as the variable's was.

    Args:
        pairs: Pairs of a `keras.Variable` and an array.
    """
    before = [(variable, variable._value) for variable, _ in pairs]
    try:
        for variable, value in pairs:
            variable._value = value
        yield
    finally:
        for variable, value in before:
            variable._value = value


# === Optimizers ===


def variable_of(optimizer, value):
    """Return the Keras variable that a call of `update_step` updates.

    Args:
        optimizer: A built `keras.optimizers.Optimizer`.
        value: The argument of `optimizer.update_step`: a `keras.Variable`, or
            on TensorFlow the `tf.Variable` inside one, which has no path.
    """
    index = optimizer._get_variable_index(value)
    return optimizer._trainable_variables[index]


def mean_squares(optimizer):
    """Return the running means of squared gradients of a built RMSProp.

    They are in the order of its variables, with None for those without one.
    """
    return optimizer._velocities


# === `fit` ===


class HookedModel(keras.Model):
    """A `keras.Model` some of whose private steps can be overridden.

    Keras's loops call private methods; here these call hooks with names of our
    own, which a subclass overrides. By default, hooks do what Keras does.
    """

    def _step_to_compile(self, step):
        """Return the function to compile for a step of `fit` or `evaluate`.

        Keras averages the logs of several workers only in another shape.
        """
        return step

    def _build_from_data(self, iterator=None, data_batch=None):
        """Build what needs a batch: layers, metrics, loss.

        To learn its shape, Keras averages a batch over replicas, which fails
        if some are in other processes. Only the TensorFlow backend calls this.
        """
        super()._maybe_symbolic_build(iterator, data_batch)

    def _logs_of_epoch(self, logs):
        """Return the logs of an epoch or an evaluation, given the last step's.

        Keras leaves out metrics that steps did not report, such as one that is
        computed once, over all images.
        """
        return super()._get_metrics_result_or_logs(logs)

    def make_predict_function(self, force: bool = False) -> None:
        """Make the step of `predict`, unless there is one."""
        is_new = force or self.predict_function is None
        super().make_predict_function(force)
        if is_new:
            _count_tracings_apart(self.predict_function)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as `keras.Model` does, and keep the weights if it fails."""
        with _weights_given_back(self):
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict as `keras.Model` does, and keep the weights if it fails."""
        with _weights_given_back(self):
            return super().predict(*args, **kwargs)

    def _get_jax_state(self, **wanted):
        """Return the state of variables, and keep it for `jax_state_sync`.

        On JAX, Keras takes the values out of a model's variables for its loop.
        Should the first step fail, say because a batch cannot be read, they
        would be lost.
        """
        state = super()._get_jax_state(**wanted)
        if wanted.get("purge_model_variables"):
            names = [name for name in _JAX_STATE if wanted.get(name)]
            self._jax_state = dict(zip(names, state, strict=True))
        return state

    def _make_function(self, step_function, **kwargs):
        step = self._step_to_compile(step_function)
        function = super()._make_function(step, **kwargs)
        _count_tracings_apart(function)
        return function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        self._build_from_data(iterator, data_batch)

    def _get_metrics_result_or_logs(self, logs):
        return self._logs_of_epoch(logs)


# In the order in which Keras passes them.
_JAX_STATE = (
    "trainable_variables",
    "non_trainable_variables",
    "optimizer_variables",
    "metrics_variables",
)


@contextlib.contextmanager
def _weights_given_back(model):
    """On JAX, put values back into variables that Keras took out, as `fit`."""
    try:
        yield
    finally:
        if keras.backend.backend() == "jax":
            model.jax_state_sync()


def _count_tracings_apart(step):
    """Let TensorFlow count how often it traces the step of one model alone.

    It counts all functions with the same code as one, such as the steps of all
    models. Where several models take few steps each, as in a study, it would
    warn of "retracing", although each is traced once.

    Args:
        step: What Keras made: a `tf.function`, or a function that calls some.
    """
    parts = [step]
    if inspect.isfunction(step):
        parts += inspect.getclosurevars(step).nonlocals.values()
    for part in parts:
        if hasattr(part, "_key_for_call_stats"):
            # Any object that can be referred to weakly.
            part._key_for_call_stats = lambda: None


def begin_at(model, epoch):
    """Make `fit`, which is in `on_train_begin`, start at another epoch.

    `keras.callbacks.BackupAndRestore` does the same.

    Args:
        model: A `keras.Model`.
        epoch: Number of the epoch, from 0; None: the `initial_epoch` of `fit`.
    """
    model._initial_epoch = epoch


def model_of(callback):
    """Return the model of a callback; on JAX its state may be out of date.

    On JAX, `callback.model` copies the state of training into the model, which
    takes too long for a callback that reads a setting in every step.
    """
    return callback._model


def loss_tracker(model):
    """Return the metric behind `loss` in the logs of a compiled model.

    Our own train steps update it, as Keras's do.
    """
    return model._loss_tracker


def is_built(model):
    """Return whether a model, its loss, metrics and optimizer are built."""
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

    `model.distribute_strategy` returns the default strategy in place of None,
    and does not exist on other backends.
    """
    return getattr(model, "_distribute_strategy", None)


def spans_workers(strategy):
    """Return whether a strategy has replicas in several processes.

    A `MultiWorkerMirroredStrategy` of a single worker has none.
    """
    return strategy.extended._in_multi_worker_mode()


def cluster_resolver(strategy):
    """Return the cluster resolver of a `ParameterServerStrategy`.

    Its public attribute `strategy.cluster_resolver` is None.
    """
    return strategy._cluster_resolver


def exchange_in(strategy, dtype):
    """Set the type in which replicas of a strategy exchange gradients."""
    strategy.gradients_exchanged_in = dtype


def exchange_gradients(optimizer, strategy):
    """Let an optimizer exchange gradients in the type of `exchange_in`.

    After clipping, Keras sums gradients over the replicas in the type that they
    have, and updates with the sums, which here are again of the weights' type.

    Args:
        optimizer: A `keras.optimizers.Optimizer`, not one around another.
        strategy: A `tf.distribute.Strategy`, or None.
    """
    vars(optimizer).pop("_all_reduce_sum_gradients", None)
    dtype = getattr(strategy, "gradients_exchanged_in", None)
    if dtype is None:
        return
    reduce = optimizer._all_reduce_sum_gradients

    def rounded(pairs):
        sent = [(keras.ops.cast(g, dtype), v) for g, v in pairs]
        return [(keras.ops.cast(g, v.dtype), v) for g, v in reduce(sent)]

    optimizer._all_reduce_sum_gradients = rounded


# === tf.data ===

ELEMENT_BY_ELEMENT = {
    "_MapDataset",
    "_ParallelMapDataset",
    "_PrefetchDataset",
    "_OptionsDataset",
}
"""Classes that keep the number and order of elements (`map`, `prefetch` and
`with_options`), so that the position in the data is still known."""


def datasets_before(dataset):
    """Return the `tf.data.Dataset`s that a data set reads directly.

    A checkpoint looks for the source of its data behind `map` and `prefetch`.
    """
    return dataset._inputs()


def shuffle_seeds(dataset):
    """Return the two seeds of a `shuffle`; None for another data set.

    Both are 0 if none is set. Workers cannot use such a data set: each would
    draw an order of its own.
    """
    if type(dataset).__name__ != "_ShuffleDataset":
        return None
    return int(dataset._seed), int(dataset._seed2)
