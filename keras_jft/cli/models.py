"""The commands for nets: `backbones`, `predict` and `export`."""

import importlib.util
import json
import pathlib
import sys

import keras_jft as jft
from keras_jft.text_files import read_text


def add_backbones(parser):
    """Add the options of `keras-jft backbones`."""
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="what the name must contain"
    )


def run_backbones(arguments):
    """Run `keras-jft backbones`."""
    found = [
        name
        for name in jft.backbones.names()
        if all(word.lower() in name.lower() for word in arguments.words)
    ]
    if not importlib.util.find_spec("keras_hub"):
        print(
            "Without the nets of KerasHub, which is not installed: "
            'pip install "keras_jft[hub]".',
            file=sys.stderr,
        )
    if not found:
        raise ValueError(
            "No backbone has all of these WORDs in its name: "
            f"{' '.join(arguments.words)}. `keras-jft backbones` alone lists "
            "all names."
        )
    print(*found, sep="\n")


# === predict ===


def add_predict(parser):
    """Add the options of `keras-jft predict`."""
    parser.add_argument(
        "model", metavar="MODEL", type=pathlib.Path, help="a .keras file"
    )
    parser.add_argument(
        "paths", metavar="IMAGE", nargs="+", help="image files, or folders"
    )
    parser.add_argument(
        "--names",
        type=pathlib.Path,
        metavar="FILE",
        help="a text file with the names of the classes, one per line",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="leave out what scores lower (default: 0.5)",
    )
    parser.add_argument(
        "--pictures",
        metavar="DIR",
        help="a folder to write the images to, with boxes or masks drawn in",
    )


def _model(path):
    """Return the model of a `.keras` file."""
    import keras

    if not path.exists():
        # Keras's own message names its argument, which is not an option here.
        raise ValueError(f"There is no model {str(path)!r}.")
    return keras.saving.load_model(path)


def run_predict(arguments):
    """Run `keras-jft predict`."""
    names = arguments.names
    for record in jft.evaluation.predict_files(
        _model(arguments.model),
        arguments.paths,
        names and read_text(names).splitlines(),
        threshold=arguments.threshold,
        pictures=arguments.pictures,
    ):
        print(json.dumps(record, ensure_ascii=False))


# === export ===

# Keras's name of a format, and the suffix of its files.
FORMATS = {
    "saved_model": ("tf_saved_model", ""),
    "onnx": ("onnx", ".onnx"),
    "litert": ("litert", ".tflite"),
}


def add_export(parser):
    """Add the options of `keras-jft export`."""
    parser.add_argument(
        "model", metavar="MODEL", type=pathlib.Path, help="a .keras file"
    )
    parser.add_argument(
        "--format",
        default="saved_model",
        choices=FORMATS,
        help="what to write (default: saved_model, a folder)",
    )
    parser.add_argument(
        "--output",
        dest="filepath",
        metavar="PATH",
        type=pathlib.Path,
        help="where to (default: beside the model)",
    )


def run_export(arguments):
    """Run `keras-jft export`."""
    kind, suffix = FORMATS[arguments.format]
    path = arguments.filepath or arguments.model.with_suffix(suffix)
    model = _model(arguments.model)
    model.export(path, format=kind, verbose=False)
    print(f"Exported: {path}")
