"""TensorFlow Datasets at any position, each failure with its name."""

import numpy as np

from keras_jft.data.images import decode_image


def builder_of(config, directory):
    """The TFDS builder of a data set, of ArrayRecord files.

    Args:
        config: Name of the TFDS data set.
        directory: TFDS's data directory; its own default, if None.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
        ValueError: TFDS does not know the data set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "`tfds` needs tensorflow-datasets, which is not installed. "
            "`image_folder`, `manifest`, `coco` and `voc` read files."
        ) from error
    try:
        return tfds.builder(
            config, data_dir=directory, file_format="array_record"
        )
    except Exception as error:  # TFDS has kinds of its own.
        raise ValueError(
            f"`config` must name a TFDS data set. Received: {config!r}. {error}"
        ) from error


def source_of(builder, split, config, directory=None):
    """The examples of a split, at any position; images as bytes of files.

    Args:
        builder: Of `builder_of`.
        split: Name of the split.
        config: Name of the data set.
        directory: TFDS's data directory, where another process finds it.

    Raises:
        ValueError: The split cannot be read at any position.
    """
    try:
        return _Source(builder, split, config, directory)
    except Exception as error:  # TFDS has kinds of its own.
        raise ValueError(
            f"{config!r}, split {split!r}, cannot be read at any position: "
            f"{error} Prepare it once by `tfds.builder({config!r}, "
            "file_format='array_record').download_and_prepare()`, in a "
            "`directory` of its own if it is there in another format."
        ) from error


class _Source:
    """A split at any position, which each process opens for itself."""

    def __init__(self, builder, split, config, directory):
        import tensorflow_datasets as tfds

        self._split, self._config = split, config
        self._directory = directory
        self._opened = builder.as_data_source(
            split=split, decoders=_decoders(tfds)
        )

    def __len__(self):
        return len(self._opened)

    def __getitem__(self, position):
        return self._opened[position]

    def __iter__(self):
        return iter(self._opened)

    def __getstate__(self):
        """What goes to another process: all but open files."""
        return {k: v for k, v in vars(self).items() if k != "_opened"}

    def __setstate__(self, state):
        """Opens what another process had open."""
        split, config, directory = (
            state[name] for name in ("_split", "_config", "_directory")
        )
        self.__init__(builder_of(config, directory), split, config, directory)


def _decoders(tfds):
    """Images are left as bytes, which are decoded strictly."""
    return {"image": tfds.decode.SkipDecoding()}


def read(source, position, config):
    """One example of a source, or an error that names it.

    Args:
        source: Of `source_of`.
        position: Of the example.
        config: Name of the data set.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return source[int(position)]
    except Exception as error:  # Of TFDS, protobuf or ArrayRecord.
        raise ValueError(
            f"Example {position} of {config!r} cannot be read: {error}. "
            "Prepare the data set again."
        ) from error


def pixels(image, position, config, decode=decode_image):
    """The RGB image of what a source gives: a file's bytes, or an array.

    Args:
        image: Bytes or `(H, W, C)`.
        position: Of the example.
        config: Name of the data set.
        decode: `decode_image`, or that of `AnnotatedImages`.

    Raises:
        UnreadableImage: It cannot be decoded.
    """
    if isinstance(image, bytes):
        return decode(image, f"Image {position} of {config}")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return image
