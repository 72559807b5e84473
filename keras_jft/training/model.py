"""`Model`: the `keras.Model` behind every model of the package."""

import contextlib
import functools
import types

import keras
import numpy as np
from keras import ops, tree

from keras_jft import checks
from keras_jft.training import callbacks as callbacks_lib
from keras_jft.training import (
    epoch_metrics,
    export,
    inputs,
    keras_internals,
    updates,
)
from keras_jft.training.checkpoints.checkpoint import Checkpoint
from keras_jft.training.distribution import (
    jax_layouts,
    parameter_server,
    replicas,
)


def _remembered(check):
    """Wrap `check` to keep what it raises: TensorFlow buries it in its own."""

    @functools.wraps(check)
    def remembering(self, batch):
        try:
            return check(self, batch)
        except ValueError as error:
            self._refusal = error
            raise

    return remembering


@keras.saving.register_keras_serializable("keras_jft")
class Model(keras_internals.HookedModel):
    """A Keras model that takes contract batches and owns its loss.

    `fit`, `evaluate` and `predict` take what Keras takes, and also contract
    batches (`jft.data.check_batch`): a dict of arrays, or dicts in a
    `tf.data.Dataset`, in what `jft.data.iterate` gives, in a list, in a
    `keras.utils.PyDataset` or out of a generator.
    Calling a model gives raw outputs; `predict` gives decoded predictions.

    A subclass is a functional model. It may override `inputs_of`, `targets`,
    `check_targets`, `step_inputs`, `decode`, `default_loss` and
    `default_metrics`, and gives its constructor's arguments in `get_config`.

    `copy.deepcopy(model)` is a model of the same class, compiled alike, with
    the same weights; `type(model).from_config(model.get_config())` is one with
    new weights, not compiled. `keras.models.clone_model` makes a plain
    functional model, without `predict`'s decoding; compiled with `l2` or
    `multipliers`, which such a model does not take, it raises a `TypeError`.

    A model made under a strategy (`jft.training.strategy`) trains under it: on
    several replicas as on one device, however few images the last batch has.
    On several workers all run the same script; each calls `fit`, `evaluate`,
    `predict` and `save`, the chief shows progress and writes the files.
    Under parameter servers the chief alone runs it: workers take the steps of
    `fit`, `evaluate` and `predict` run in the chief.
    """

    _asynchronous = None
    _average_statistics = None
    _decodes = True
    _evaluating = False
    _in_step = False
    # What to do where Keras's `class_weight`, of one id per image, cannot work.
    _instead_of_class_weight = None
    _refusal = None
    _train_steps = 0

    # === What a subclass overrides ===

    def inputs_of(self, batch):
        """Return what the model is called with, from a contract batch."""
        return batch["images"]

    def step_inputs(self, x, y):
        """Return what the model is called with in a step that has targets."""
        return x

    def targets(self, batch):
        """Return what the loss compares outputs with, from a contract batch."""
        return self.entry(batch, "labels")

    def check_targets(self, y):
        """Raise a `ValueError` for targets that are not this model's.

        Args:
            y: A NumPy array, or the `tf.TensorSpec` of a batch; or several.
        """

    def may_be_dense(self, spec):
        """Whether only values tell if targets of a `tf.TensorSpec` are ids."""
        return False

    def entry(self, batch, key):
        """Return an entry of a contract batch; raise if it is not there."""
        if key not in batch:
            raise ValueError(
                f"{type(self).__name__} needs `{key}` in a batch. Received the "
                f"keys {sorted(batch)}. Load a data set that has them."
            )
        return batch[key]

    def loss_count(self, x, y):
        """Return how many terms the loss averages over: the images."""
        return ops.shape(tree.flatten(x)[0])[0]

    def views(self, images):
        """Return what the network is shown to predict images: here, just them.

        `decode` is given the outputs of all these views.
        """
        return images

    def decode(self, outputs, images):
        """Return predictions from raw outputs; in `keras.ops`, compiled."""
        return outputs

    def default_loss(self):
        """Return the loss when `compile` is given none; here, no loss."""

    def default_metrics(self):
        """Return the metrics when `compile` is given none; here, no metrics."""

    # === Keras's methods ===

    def compile(
        self,
        optimizer="sgd",
        loss=None,
        metrics=None,
        *,
        l2=0.0,
        multipliers=None,
        **kwargs,
    ):
        """Configure training, as `keras.Model.compile` does.

        Args:
            optimizer: As in Keras.
            loss: As in Keras. Default: the model's own loss.
            metrics: As in Keras. Default: the model's own metrics.
            l2: `l2 * kernel` is added to the gradient of every convolution and
                dense kernel, after gradient clipping. No bias and no batch
                normalization decays, and the reported loss has no L2 term.
            multipliers: `{"layer": factor}` or `{"layer/bias": factor}`:
                factors of the learning rate for the variables of the layers
                whose name starts with `layer`. The longest key that matches
                counts.
            **kwargs: As in Keras.

        Raises:
            ValueError: If `l2` is negative, a multiplier matches no variable,
                or something was made outside of the scope of the strategy.
        """
        self._average_statistics = None
        with replicas.scope(self):
            metrics = self.default_metrics() if metrics is None else metrics
            super().compile(
                optimizer=optimizer,
                loss=self.default_loss() if loss is None else loss,
                metrics=metrics,
                **kwargs,
            )
        parts = [self, self.optimizer, *tree.flatten(metrics)]
        replicas.check_variables(self, parts)
        updates.adjust(self, l2, multipliers)
        self._l2, self._multipliers = l2, dict(multipliers or {})

    def get_compile_config(self):
        """Return Keras's compile configuration with `l2` and `multipliers`."""
        config = super().get_compile_config()
        # Where used only: `keras.models.clone_model` compiles a plain model.
        if config and self._l2:
            config["l2"] = self._l2
        if config and self._multipliers:
            config["multipliers"] = self._multipliers
        return config

    def compile_from_config(self, config):
        """Compile from `get_compile_config`, optimizer state included."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *args, callbacks=None, **kwargs):
        """Train, as `keras.Model.fit` does.

        A loss that is not finite raises `FloatingPointError` within one step,
        before any other callback sees the step (unless `callbacks` is a
        `CallbackList`, which is used as it is). Of several workers, only the
        chief writes logs.

        Args:
            x: As in Keras, or contract batches.
            y: As in Keras.
            *args: As in Keras: `batch_size`, `epochs`, `verbose`, ...
            callbacks: As in Keras.
            **kwargs: As in Keras.

        Returns:
            Keras's `History`.
        """
        if args:
            kwargs = inputs.by_name(keras.Model.fit, (x, y, *args), kwargs)
            x, y = kwargs.pop("x"), kwargs.pop("y")
            callbacks = kwargs.pop("callbacks", callbacks)
        if kwargs.get("class_weight") and self._instead_of_class_weight:
            raise ValueError(
                "`class_weight` weighs images by their one class id, which "
                f"{type(self).__name__} does not have. "
                f"{self._instead_of_class_weight}."
            )
        source = x if hasattr(x, "position") else getattr(x, "source", None)
        given = inputs.as_tensorflow_reads(x)
        x, y = self._pairs(given, y)
        for callback in _as_list(callbacks):
            if isinstance(callback, Checkpoint):
                shuffle = kwargs.get("shuffle", True)
                read = given if inputs.are_batches(given) else x
                callback.reads(read, y, source, shuffle=shuffle)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self._validation(
                kwargs["validation_data"]
            )
        if y is None:
            # Keras warns of shuffle=True on data that it cannot shuffle.
            kwargs.setdefault("shuffle", False)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [
                callbacks_lib.StopOnNonFiniteLoss(),
                *_as_list(callbacks),
            ]
        if not replicas.writes(self):
            callbacks = callbacks_lib.without_writers(callbacks)
        with replicas.lost_workers(self):
            x, y = replicas.in_one_order(self, x, y, kwargs)
        drive = parameter_server.driving(self, given, (x, y), kwargs)
        with self._on_every_worker(kwargs), drive as (x, y):
            return super().fit(x, y, callbacks=callbacks, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Return loss and metrics, as `keras.Model.evaluate` does."""
        if args:
            kwargs = inputs.by_name(keras.Model.evaluate, (x, y, *args), kwargs)
            x, y = kwargs.pop("x"), kwargs.pop("y")
        x, y = self._pairs(x, y)
        self._evaluating = True
        try:
            with self._on_every_worker(kwargs):
                replicas.synchronize(self)
                return super().evaluate(x, y, **kwargs)
        finally:
            self._evaluating = False

    def predict(self, x, *args, logits=False, **kwargs):
        """Return decoded predictions, or raw outputs.

        Args:
            x: Images `(B, H, W, 3)` in 0..255, or contract batches.
            *args: As in `keras.Model.predict`: `batch_size`, `verbose`, ...
            logits: Whether to leave the outputs as calling the model gives
                them.
            **kwargs: As in `keras.Model.predict`.

        Returns:
            NumPy arrays; the model's `decode` says what they hold.
        """
        if args:
            kwargs = inputs.by_name(keras.Model.predict, (x, *args), kwargs)
            x = kwargs.pop("x")
        self._decode_unless(logits)
        with self._on_every_worker(kwargs):
            replicas.synchronize(self)
            return super().predict(self._images(x), **kwargs)

    def predict_on_batch(self, x, *, logits=False):
        """Return decoded predictions of one batch, or raw outputs.

        Args:
            x: Images `(B, H, W, 3)` in 0..255, or a contract batch.
            logits: As for `predict`.

        Returns:
            NumPy arrays.
        """
        if replicas.are_several(self):
            # Keras would give every replica the whole batch.
            return self.predict(x, logits=logits, verbose=0)
        self._decode_unless(logits)
        return super().predict_on_batch(self._images(x))

    def _decode_unless(self, logits):
        if self._decodes == logits:
            self._decodes = not logits
            self.predict_function = None

    def save(self, filepath, *args, **kwargs):
        """Save the model, as `keras.Model.save` does; all workers call it.

        Raises:
            ValueError: The file is an `.h5`, out of which no registered class
                can be loaded.
        """
        checks.not_hdf5(filepath)
        replicas.synchronize(self)
        if replicas.is_chief(self):
            super().save(filepath, *args, **kwargs)

    def save_weights(self, filepath, *args, **kwargs):
        """Save weights, as `keras.Model` does; all workers call it."""
        replicas.synchronize(self)
        if replicas.is_chief(self):
            super().save_weights(filepath, *args, **kwargs)

    def export(self, filepath, **kwargs):
        """Write the model for serving, `decode` inside; all workers call it.

        The exported model takes images in 0..255 and returns what `predict`
        does; it needs only TensorFlow, or what the format is made for.

        Args:
            filepath: Where to, a folder for a SavedModel.
            **kwargs: As in `keras.Model.export`, and `dtype` of the images,
                uint8 by default.
        """
        replicas.synchronize(self)
        if replicas.is_chief(self):
            export.export(self, filepath, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """Train on one batch, as `keras.Model.train_on_batch` does."""
        x, y = self._pairs(x, y)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """Evaluate one batch, as `keras.Model.test_on_batch` does."""
        x, y = self._pairs(x, y)
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_step(self, *args):
        """Take one compiled step of `predict`."""
        if replicas.are_several(self):
            return replicas.predict_step(self._predict_images, *args)
        return self._predict_images(*args)

    def _predict_images(self, *args):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(args[-1])
        if self._decodes:
            args = *args[:-1], (self.views(x),)
        outputs = super().predict_step(*args)
        if keras.backend.backend() == "jax":
            outputs, state = outputs
            return jax_layouts.whole(self._predicted(outputs, x)), state
        return self._predicted(outputs, x)

    def _predicted(self, outputs, images):
        return self.decode(outputs, images) if self._decodes else outputs

    def train_step(self, *args):
        """Take one compiled step of `fit`."""
        args = self._with_step_inputs(args)
        with epoch_metrics.passed_by(self):
            if replicas.is_asynchronous(self):
                return parameter_server.train_step(self, *args)
            if replicas.are_several(self):
                return replicas.train_step(self, *args)
            return super().train_step(*args)

    def test_step(self, *args):
        """Take one compiled step of `evaluate`."""
        args = self._with_step_inputs(args)
        if replicas.are_several(self):
            return replicas.test_step(self, *args)
        return super().test_step(*args)

    def _with_step_inputs(self, args):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(args[-1])
        return *args[:-1], (self.step_inputs(x, y), y, weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the metrics; return those that are cheap in every step."""
        self._in_step = True
        try:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        finally:
            self._in_step = False

    def get_metrics_result(self):
        """Return `{name: value}`, at the end of `evaluate` of all metrics."""
        waiting = epoch_metrics.waiting(self)
        if not waiting:
            return super().get_metrics_result()
        if self._evaluating and not self._in_step:
            with replicas.merged(self, waiting):
                return super().get_metrics_result()
        return epoch_metrics.results_of_others(self)

    def _logs_of_epoch(self, logs):
        if not self._evaluating:  # After an epoch of training.
            replicas.synchronize(self)
        # Keras drops metrics that a step did not report; ours come now.
        return {**(logs or {}), **self.get_metrics_result()}

    # === Several replicas ===

    def _step_to_compile(self, step):
        return replicas.reducible(self, step)

    @property
    def distribute_strategy(self):
        """Return the strategy of Keras's loop: in a chief, this process."""
        if replicas.is_asynchronous(self):
            return parameter_server.local_strategy()
        return super().distribute_strategy

    def _build_from_data(self, iterator=None, data_batch=None):
        if replicas.is_asynchronous(self):
            parameter_server.symbolic_build(self, iterator, data_batch)
        elif replicas.are_several(self):
            replicas.symbolic_build(self, iterator, data_batch)
        else:
            super()._build_from_data(iterator, data_batch)

    @contextlib.contextmanager
    def _on_every_worker(self, kwargs):
        if not replicas.is_chief(self):
            kwargs["verbose"] = 0
        with replicas.lost_workers(self), self._plain_errors():
            yield

    @contextlib.contextmanager
    def _plain_errors(self):
        """Raise what a check said, not the graph in which TensorFlow did."""
        self._refusal = None
        try:
            yield
        except Exception as error:
            refusal = self._refusal or inputs.plain_error(error)
            if refusal is None or refusal is error:
                raise
            raise refusal from None
        finally:
            self._refusal = None

    # === Contract batches to Keras's pairs ===

    def _pairs(self, x, y):
        # Not of a generator, whose batches come once, or of ours.
        looks = hasattr(x, "element_spec") and not hasattr(x, "source")
        x = replicas.shard_by_element(self, inputs.as_tensorflow_reads(x))
        if y is None:
            x = inputs.as_keras_takes(x, self._checked_pair, self._check_pair)
            if isinstance(x, tuple) and x:
                x, y = x
            elif self._takes_images:
                self._check_has_targets(x)
        elif not isinstance(x, types.GeneratorType):
            y = inputs.as_array(y)
            self.check_targets(y)
        if self._takes_images:
            inputs.check_arrays(x, y)
        spec = getattr(x, "element_spec", None)
        if isinstance(spec, tuple) and len(spec) > 1:
            self.check_targets(spec[1])
            # A worker of an asynchronous run is in a graph here.
            looks = looks and not replicas.is_asynchronous(self)
            if looks and self.may_be_dense(spec[1]):
                self.check_targets(next(iter(x))[1].numpy())
        elif spec is not None and self._takes_images:
            self._check_has_targets(spec)
        return x, y

    @_remembered
    def _checked_pair(self, batch):
        y = self.targets(batch)
        if isinstance(tree.flatten(y)[0], np.ndarray):  # Not in a graph.
            self.check_targets(y)
        x = self.inputs_of(batch)
        if self._takes_images:
            inputs.check_finite(x)
        return x, y

    @_remembered
    def _check_pair(self, batch):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        if y is not None:
            self.check_targets(inputs.as_array(y))
        elif self._takes_images:
            self._check_has_targets(x)
        if self._takes_images:
            inputs.check_finite(x)

    def _check_has_targets(self, x):
        if hasattr(x, "shape"):  # An array, a tensor or the spec of one.
            raise ValueError(
                f"{type(self).__name__} trains on images and targets, `(x, y)`."
                f" Received: images of shape {tuple(x.shape)} without targets."
            )

    def _validation(self, data):
        if inputs.is_batch(data) or inputs.are_batches(data):
            x, y, weight = data, None, None
        else:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y = self._pairs(x, y)
        return keras.utils.pack_x_y_sample_weight(x, y, weight)

    def _images(self, x):
        x = replicas.shard_by_element(self, inputs.as_tensorflow_reads(x))
        x = inputs.as_keras_takes(x, lambda batch: (self.inputs_of(batch),))
        x = x[0] if isinstance(x, tuple) and len(x) == 1 else x
        if self._takes_images:
            inputs.check_arrays(x, None)
        return x

    @property
    def _takes_images(self):
        """Whether this is a head, whose backbone has pixels for inputs."""
        return hasattr(self, "backbone")


def _as_list(callbacks):
    if callbacks is None:
        return []
    callbacks = getattr(callbacks, "callbacks", callbacks)  # A CallbackList.
    return callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
