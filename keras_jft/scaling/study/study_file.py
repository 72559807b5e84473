"""The TOML file of a study: from folders, with comments, and as it was run."""

import json
import os
from collections.abc import Mapping

from keras_jft import files
from keras_jft.scaling.rows import rows as rows_lib
from keras_jft.scaling.study.plan import Plan


def study_text(
    images: str | os.PathLike,
    tasks: Mapping[str, str | os.PathLike],
    output: str | os.PathLike = "study",
    **settings: list[int] | None,
) -> str:
    """Return the text of a TOML file that names only folders.

    Args:
        images: The folder of pre-training.
        tasks: `{name: folder}`.
        output: The folder of rows and pages.
        **settings: `sizes` and `seeds`, lists; None: left out.
    """
    # Texts and lists of JSON are also those of TOML.
    top = {"output": str(output), **settings}
    lines = [f"{k} = {json.dumps(v)}" for k, v in top.items() if v is not None]
    lines += ["", "[pretrain]", f"images = {json.dumps(str(images))}"]
    for name, folder in tasks.items():
        lines += ["", f"[tasks.{json.dumps(name)}]"]
        lines += [f"images = {json.dumps(str(folder))}"]
    return "\n".join(lines) + "\n"


def commented(text: str, plan: Plan) -> str:
    """Return the text of `study_text`, with all that a plan adds as comments.

    Args:
        text: As `study_text` returns it.
        plan: The `Plan` of that text.
    """
    parts = text.split("\n[")
    more = [
        [f"sizes = {list(plan.sizes)}", f"seeds = {list(plan.seeds)}"],
        _settings(plan.pretrain, {}),
        *(
            _settings(task.transfer, {"modes": list(task.modes)})
            for task in plan.tasks.values()
        ),
    ]
    head = [
        "# A study: keras-jft study FILE. Lines that begin with '# ' and have",
        "# a key are defaults, which follow from the images:",
        *(f"#   {note}" for note in plan.notes),
        "",
    ]
    filled = [
        "\n".join([part.rstrip(), *(f"# {line}" for line in lines), ""])
        for part, lines in zip(parts, more, strict=True)
    ]
    return "\n".join(head) + "\n[".join(filled)


def _settings(config, more):
    """Return the lines of the settings that users change most."""
    shown = dict(more)
    for name in ("image_size", "batch_size", "epochs", "learning_rate", "head"):
        if getattr(config, name, None) is not None:
            shown[name] = getattr(config, name)
    return [f"{name} = {json.dumps(value)}" for name, value in shown.items()]


def write_study(plan: Plan, text: str) -> None:
    """Write the text of a study beside its rows, with the versions used.

    The file is `study_as_run.toml` in the output.

    Args:
        plan: The `Plan`.
        text: The text of its TOML file.
    """
    facts = {**rows_lib.provenance(), "output": plan.output}
    lines = [f"# {name}: {value}" for name, value in facts.items()]
    content = "\n".join([*lines, "", text])
    files.write_bytes(plan.output / "study_as_run.toml", content.encode())
