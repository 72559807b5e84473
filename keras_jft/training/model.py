"""`Model`: the `keras.Model` behind every model of the package."""

import contextlib
import types
from collections.abc import Mapping
from typing import Any

import keras
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
from keras_jft.typing import Batch, PathLike, Tensor


@keras.saving.register_keras_serializable("keras_jft")
class Model(keras_internals.HookedModel):
    """A Keras model that takes contract batches and has a default loss.

    `fit`, `evaluate` and `predict` take what Keras takes, and also contract
    batches (`jft.data.check_batch`): a dict of arrays, or dicts from
    `jft.data.iterate`, a `tf.data.Dataset`, a `keras.utils.PyDataset`, a list
    or a generator. Calling a model returns raw outputs; `predict` returns
    decoded predictions.

    A subclass is a functional model. It may override `inputs_of`, `targets`,
    `check_targets`, `in_one_rank`, `widened`, `step_inputs`, `loss_count`,
    `views`, `decode`, `default_loss` and `default_metrics`; its `get_config`
    returns its constructor's arguments.

    `copy.deepcopy(model)` returns a model of the same class with the same
    weights, compiled the same way. `type(model).from_config(
    model.get_config())` returns one with new weights that is not compiled.
    `keras.models.clone_model` returns a plain functional model, without the
    decoding of `predict`. It raises a `TypeError` for a model compiled with
    `l2` or `multipliers`, which a plain model does not accept.

    A model made in the scope of a strategy (`jft.training.strategy`) trains
    under it. Several replicas train like one device, even if the last batch has
    too few images for all of them. With several workers, each runs the same
    script and calls `fit`, `evaluate`, `predict` and `save`; only the chief
    shows progress and writes files. With parameter servers, only the chief runs
    the script: workers take the steps of `fit`, and the chief itself runs
    `evaluate` and `predict`.
    """

    _asynchronous = None
    _average_statistics = None
    _decodes = True
    _evaluating = False
    _in_step = False
    # Advice for users of `class_weight`, which needs one class id per image.
    # None: it works.
    _instead_of_class_weight: str | None = None
    _refusal = None
    _test_ranks = None
    _train_ranks = None
    _train_steps = 0

    # === What a subclass overrides ===

    def inputs_of(self, batch: Batch) -> Any:
        """Return the inputs of the model from a contract batch."""
        return batch["images"]

    def step_inputs(self, x: Any, y: Any) -> Any:
        """Return the model inputs for a training or test step with targets."""
        return x

    def targets(self, batch: Batch) -> Any:
        """Return the targets of the loss from a contract batch."""
        return self.entry(batch, "labels")

    def check_targets(self, y: Any) -> None:
        """Raise a `ValueError` for targets that this model cannot use.

        Args:
            y: The targets of a batch, NumPy arrays or `tf.TensorSpec`s.
        """

    def in_one_rank(self, y: Any) -> Any:
        """Return targets reshaped to the one rank that compiled steps expect.

        Args:
            y: Targets, or tensors of a batch, that `check_targets` accepts.
        """
        return y

    def widened(self, y: Any) -> Any:
        """Return targets with one more slot of padding for each image.

        Args:
            y: NumPy arrays. Targets without such slots are returned as is.
        """
        return y

    def entry(self, batch: Batch, key: str) -> Any:
        """Return an entry of a contract batch; raise if it is missing."""
        if key not in batch:
            raise ValueError(
                f"{type(self).__name__} needs `{key}` in a batch. Received the "
                f"keys {sorted(batch)}. Load a data set that has them."
            )
        return batch[key]

    def loss_count(self, x: Any, y: Any) -> Tensor:
        """Return how many terms the loss averages over; by default, images."""
        return ops.shape(tree.flatten(x)[0])[0]

    def views(self, images: Tensor) -> Tensor:
        """Return the images that `predict` passes through the network.

        A subclass may add others, such as mirrored ones; `decode` receives the
        outputs of all of them.
        """
        return images

    def decode(self, outputs: Tensor, images: Tensor) -> Any:
        """Return predictions from raw outputs, by `keras.ops` (compiled)."""
        return outputs

    def default_loss(self) -> Any:
        """Return the loss to use if `compile` receives none: here, no loss."""

    def default_metrics(self) -> list[Any] | None:
        """Return the metrics to use if `compile` receives none: here, none."""

    # === Keras's methods ===

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "sgd",
        loss: Any = None,
        metrics: Any = None,
        *,
        l2: float = 0.0,
        multipliers: Mapping[str, float] | str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training, as `keras.Model.compile` does.

        Args:
            optimizer: As in Keras.
            loss: As in Keras; by default the model's own loss.
            metrics: As in Keras; by default the model's own metrics.
            l2: After gradient clipping, `l2 * kernel` is added to the gradient
                of each convolution and dense kernel. Biases and batch
                normalization do not decay, and the reported loss has no L2
                term.
            multipliers: `{"layer": factor}` or `{"layer/bias": factor}`:
                factors of the learning rate for the variables of layers whose
                name starts with `layer`. If several keys match, the longest
                counts. Or `"layerwise:0.75"`: the last stage of the backbone
                learns at 0.75 of the head's rate, the one before at 0.75 of
                that, and so on.
            **kwargs: As in Keras.

        Raises:
            ValueError: If `l2` is negative, a multiplier matches no variable,
                or a part was made outside the scope of the strategy.
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
        self._l2 = l2
        if not isinstance(multipliers, str):
            multipliers = dict(multipliers or {})
        self._multipliers = multipliers

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return Keras's compile configuration with `l2` and `multipliers`."""
        config = super().get_compile_config()
        # Only if used, so that `keras.models.clone_model` can otherwise compile
        # a plain model from this.
        if config and self._l2:
            config["l2"] = self._l2
        if config and self._multipliers:
            config["multipliers"] = self._multipliers
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile from `get_compile_config`, and build the optimizer."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *args: Any,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit` does.

        A loss that is not finite raises `FloatingPointError` after its step,
        before another callback sees it (unless `callbacks` is a `CallbackList`,
        which is used as it is). Of several workers, only the chief writes logs.

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
        self._trace_anew("train", x, y)
        for callback in callbacks_lib.as_list(callbacks):
            if isinstance(callback, Checkpoint):
                shuffle = kwargs.get("shuffle", True)
                read = given if inputs.are_batches(given) else x
                callback.reads(read, y, source, shuffle=shuffle)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self._validation(
                kwargs["validation_data"]
            )
        if y is None:
            # Keras warns of shuffle=True for data that it cannot shuffle.
            kwargs.setdefault("shuffle", False)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [
                callbacks_lib.StopOnNonFiniteLoss(),
                *callbacks_lib.as_list(callbacks),
            ]
        if not replicas.is_chief(self):
            callbacks = callbacks_lib.without_writers(callbacks)
        with replicas.lost_workers(self):
            x, y = replicas.in_one_order(self, x, y, kwargs)
        drive = parameter_server.driving(self, given, (x, y), kwargs)
        with self._on_every_worker(kwargs), drive as (x, y):
            return super().fit(x, y, callbacks=callbacks, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Return loss and metrics, as `keras.Model.evaluate` does."""
        if args:
            kwargs = inputs.by_name(keras.Model.evaluate, (x, y, *args), kwargs)
            x, y = kwargs.pop("x"), kwargs.pop("y")
        x, y = self._pairs(x, y)
        self._trace_anew("test", x, y)
        self._evaluating = True
        try:
            with self._on_every_worker(kwargs):
                replicas.synchronize(self)
                return super().evaluate(x, y, **kwargs)
        finally:
            self._evaluating = False

    def predict(
        self, x: Any, *args: Any, logits: bool = False, **kwargs: Any
    ) -> Any:
        """Return decoded predictions, or raw outputs.

        Args:
            x: Images `(B, H, W, 3)` in 0..255, or contract batches.
            *args: As in `keras.Model.predict`: `batch_size`, `verbose`, ...
            logits: Whether to return raw outputs, without decoding.
            **kwargs: As in `keras.Model.predict`.

        Returns:
            NumPy arrays, as the model's `decode` describes them.
        """
        if args:
            kwargs = inputs.by_name(keras.Model.predict, (x, *args), kwargs)
            x = kwargs.pop("x")
        self._decode_unless(logits)
        with self._on_every_worker(kwargs):
            replicas.synchronize(self)
            return super().predict(self._images(x), **kwargs)

    def predict_on_batch(self, x: Any, *, logits: bool = False) -> Any:
        """Return decoded predictions of one batch, or raw outputs.

        Args:
            x: Images `(B, H, W, 3)` in 0..255, or a contract batch.
            logits: As for `predict`.

        Returns:
            NumPy arrays.
        """
        if replicas.are_several(self):
            # Keras would pass the whole batch to every replica.
            return self.predict(x, logits=logits, verbose=0)
        self._decode_unless(logits)
        return super().predict_on_batch(self._images(x))

    def _decode_unless(self, logits):
        if self._decodes == logits:
            self._decodes = not logits
            self.predict_function = None

    def summary(self, *args: Any, print_fn: Any = None, **kwargs: Any) -> None:
        """Print the layers, as `keras.Model` does, then what is frozen."""
        super().summary(*args, print_fn=print_fn, **kwargs)
        text = getattr(getattr(self, "backbone", None), "stages_text", None)
        if text:
            (print_fn or print)(text())

    def save(self, filepath: PathLike, *args: Any, **kwargs: Any) -> None:
        """Save the model, as `keras.Model.save` does; all workers call this.

        Raises:
            ValueError: The file is an `.h5`, from which registered classes
                cannot be loaded.
        """
        checks.not_hdf5(filepath)
        with replicas.saving(self) as is_chief:
            if is_chief:
                super().save(filepath, *args, **kwargs)

    def save_weights(
        self, filepath: PathLike, *args: Any, **kwargs: Any
    ) -> None:
        """Save weights, as `keras.Model` does; all workers call this."""
        with replicas.saving(self) as is_chief:
            if is_chief:
                super().save_weights(filepath, *args, **kwargs)

    def export(self, filepath: PathLike, **kwargs: Any) -> None:
        """Export the model and its decoding for serving; all workers call this.

        The exported model takes images in 0..255 and returns what `predict`
        does. It needs only TensorFlow, or the runtime of the chosen format.

        Args:
            filepath: A file, or a folder for a SavedModel.
            **kwargs: As in `keras.Model.export`, and `dtype`, the type of the
                images, uint8 by default.
        """
        replicas.synchronize(self)
        if replicas.is_chief(self):
            export.export(self, filepath, **kwargs)

    def train_on_batch(
        self, x: Any, y: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train on one batch, as `keras.Model.train_on_batch` does."""
        x, y = self._pairs(x, y)
        self._trace_anew("train", x, y)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(
        self, x: Any, y: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Evaluate one batch, as `keras.Model.test_on_batch` does."""
        x, y = self._pairs(x, y)
        self._trace_anew("test", x, y)
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_step(self, *args: Any) -> Any:
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

    def train_step(self, *args: Any) -> Any:
        """Take one compiled step of `fit`."""
        args = self._with_step_inputs(args)
        with epoch_metrics.passed_by(self):
            if replicas.is_asynchronous(self):
                return parameter_server.train_step(self, *args)
            if replicas.are_several(self):
                return replicas.train_step(self, *args)
            return super().train_step(*args)

    def test_step(self, *args: Any) -> Any:
        """Take one compiled step of `evaluate`."""
        args = self._with_step_inputs(args)
        if replicas.are_several(self):
            return replicas.test_step(self, *args)
        return super().test_step(*args)

    def _with_step_inputs(self, args):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(args[-1])
        return *args[:-1], (self.step_inputs(x, y), y, weight)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Tensor, sample_weight: Tensor = None
    ) -> dict[str, Tensor]:
        """Update all metrics; return those that are cheap to compute."""
        self._in_step = True
        try:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        finally:
            self._in_step = False

    def get_metrics_result(self) -> dict[str, Any]:
        """Return `{name: value}`; expensive ones only as `evaluate` ends."""
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
        # Keras keeps only metrics that steps reported; here are the others.
        return {**(logs or {}), **self.get_metrics_result()}

    # === Several replicas ===

    def _step_to_compile(self, step):
        return replicas.reducible(self, step)

    @property
    def distribute_strategy(self) -> Any:
        """Return the strategy that Keras's training loop uses.

        With parameter servers the loop runs in the chief's own process.
        """
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
        inputs.check_batch_size(kwargs)
        if not replicas.is_chief(self):
            kwargs["verbose"] = 0
        with replicas.lost_workers(self), self._plain_errors():
            yield

    @contextlib.contextmanager
    def _plain_errors(self):
        """Raise the error of a check, not the one TensorFlow wraps it in."""
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
        # Whether each batch is checked as it comes: `jft.data` has checked its
        # own. Under parameter servers, a worker runs this inside a graph.
        watches = hasattr(x, "element_spec") and not (
            hasattr(x, "source") or replicas.is_asynchronous(self)
        )
        is_checked = y is None and inputs.is_batch(x)  # By `_pair_of`.
        x = replicas.shard_by_element(self, inputs.as_tensorflow_reads(x))
        if y is None:
            x = inputs.as_keras_takes(
                x, self._pair_of, self._as_pair, self.widened
            )
            if isinstance(x, tuple) and x:
                x, y = x
            elif self._takes_images:
                self._check_has_targets(x)
        elif not isinstance(x, types.GeneratorType):
            y = inputs.as_array(y)
            self.check_targets(y)
            y = self.in_one_rank(y)
        if self._takes_images and not is_checked:
            inputs.check_arrays(x, y, self.inputs)
        spec = getattr(x, "element_spec", None)
        if isinstance(spec, tuple) and len(spec) > 1:
            self.check_targets(spec[1])
            if watches:
                x = inputs.watched(x, self._as_pair, self._in_one_rank)
        elif spec is not None and self._takes_images:
            self._check_has_targets(spec)
        return x, y

    @inputs.remembered
    def _pair_of(self, batch):
        """Return `(x, y)` of a contract batch, checked unless in a graph."""
        pair = self.inputs_of(batch), self.targets(batch)
        if inputs.has_values(pair):
            return self._as_pair(pair)
        return self._in_one_rank(pair)

    @inputs.remembered
    def _as_pair(self, batch):
        """Return a batch of pairs, checked, with targets in one rank."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        if y is not None:
            self.check_targets(inputs.as_arrays(y))
        elif self._takes_images:
            self._check_has_targets(x)
        if self._takes_images:
            inputs.check_images(x, y, self.inputs)
        return self._in_one_rank(batch)

    def _in_one_rank(self, batch):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        y = y if y is None else self.in_one_rank(y)
        return keras.utils.pack_x_y_sample_weight(x, y, weight)

    def _trace_anew(self, step, x, y):
        """Drop a compiled step whose targets had another rank."""
        # TensorFlow would trace it for any rank at once, which Keras cannot.
        ranks, before = inputs.ranks_of(x, y), getattr(self, f"_{step}_ranks")
        if before and ranks and ranks != before:
            setattr(self, f"{step}_function", None)
        setattr(self, f"_{step}_ranks", ranks or before)

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
        is_checked, look = inputs.is_batch(x), self._with_checked_images
        x = replicas.shard_by_element(self, inputs.as_tensorflow_reads(x))
        x = inputs.as_keras_takes(x, lambda b: look((self.inputs_of(b),)), look)
        x = x[0] if isinstance(x, tuple) and len(x) == 1 else x
        if self._takes_images and not is_checked:
            inputs.check_arrays(x, None, self.inputs)
        return x

    @inputs.remembered
    def _with_checked_images(self, batch):
        x = keras.utils.unpack_x_y_sample_weight(batch)[0]
        if self._takes_images and inputs.has_values(x):
            inputs.check_images(x, None, self.inputs)
        return batch

    @property
    def _takes_images(self):
        return hasattr(self, "backbone")
