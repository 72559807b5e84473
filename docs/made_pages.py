"""Pages of the site that are made: of docstrings, tables, rows and figures.

MkDocs calls the functions `on_...` (`hooks` of mkdocs.yml), and mkdocstrings
calls `Doctests`. Nothing here is typed a second time: a name that a package
exports is in its reference, a benchmark that has a docstring has its section.
"""

import ast
import dataclasses
import os
import pathlib
import posixpath
import re

import griffe
from mkdocs.structure.files import File

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "keras_jft"
BENCHMARKS = ROOT / "benchmarks"
# Files beside `docs` that are pages of the site.
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# What a text may link to, and the page of the site that is it.
LINKED = {**PAGES, "benchmarks": "benchmarks.md"}
# Packages whose names are public, with the order of the reference.
ROOMS = (
    "data",
    "data.transforms",
    "backbones",
    "pretrain",
    "transfer",
    "evaluation",
    "evaluation.duplicates",
    "scaling",
    "scaling.paper",
    "training",
    "metrics",
    "layers",
)


def on_files(files, config):
    """Add the pages and the figures that are not in `docs`."""
    made = {
        "benchmarks.md": benchmarks_page(),
        "api/index.md": api_index(),
        **{f"api/{room}.md": api_page(room) for room in ROOMS},
        **{
            to: (ROOT / name).read_text(encoding="utf-8")
            for name, to in PAGES.items()
        },
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    for figure in sorted((BENCHMARKS / "figures").glob("*.png")):
        files.append(
            File.generated(
                config, f"figures/{figure.name}", abs_src_path=str(figure)
            )
        )
    return files


def on_page_markdown(markdown, page, config, files):
    """Fill in tables, and send links out of `docs` to where they lead."""
    for name, table in (("pretrain", _recipes), ("transfer", _head_recipes)):
        mark = f"<!-- made: {name}.RECIPES -->"
        if mark in markdown:
            markdown = markdown.replace(mark, table())
    # Where the text was written: pages from the root link as the root does.
    written = {to: name for name, to in PAGES.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )
    here = posixpath.dirname(written)
    return re.sub(
        r"\]\(([^)#\s:]+)(#[^)\s]*)?\)",
        lambda link: _link(link, here, page.file.src_uri, config),
        markdown,
    )


def _link(link, here, page, config):
    target = posixpath.normpath(posixpath.join(here, link[1]))
    anchor = link[2] or ""
    if target.startswith("docs/"):
        to = target.removeprefix("docs/")
    elif target in LINKED:
        to = LINKED[target]
    elif target.startswith("benchmarks/figures/"):
        to = target.removeprefix("benchmarks/")
    else:
        return f"]({config.repo_url}/blob/main/{target}{anchor})"
    return f"]({posixpath.relpath(to, posixpath.dirname(page) or '.')}{anchor})"


# === The reference ===


def _source(module):
    """Return the file of a module of the package."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def exported(module):
    """Return `{module of definition: names}` of what a package exports."""
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    public = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "__all__"
    )
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if name in public:
                    found.setdefault(node.module, []).append(name)
    known = {name for names in found.values() for name in names}
    here = [name for name in public if name not in known]
    return {**({module: here} if here else {}), **found}


def api_page(room):
    """Return the reference of one room, grouped by the modules of its names."""
    module = f"keras_jft.{room}"
    lines = [f"# {module.replace('keras_jft', 'jft')}", ""]
    lines += [_prose(_docstring(_source(module))), ""]
    for source, names in exported(module).items():
        if source == module:
            title = "Tables"
        else:
            title = _docstring(_source(source)).splitlines()[0].rstrip(".")
        lines += [f"## {title}", ""]
        for name in names:
            if f"{room}.{name}" in ROOMS:
                lines += [f"[`{name}`]({room}.{name}.md)", ""]
            else:
                lines += [f"::: {_path(module, source, name)}", ""]
    return "\n".join(lines)


def _path(module, source, name):
    """Return the dotted name of what a package exports."""
    of_the_name = _source(module).with_name(f"{name}.py")
    hidden = source != module and of_the_name.exists()  # By a module.
    return f"{source if hidden else module}.{name}"


def api_index():
    """Return the page that lists all public names."""
    lines = ["# API reference", "", "`import keras_jft as jft`.", ""]
    lines += ["Classes that everyone needs are names of `jft` itself:", ""]
    for source, names in exported("keras_jft").items():
        room = source.removeprefix("keras_jft.")
        if source not in ("keras_jft", "keras_jft.version"):
            for name in names:
                lines.append(f"- [`jft.{name}`][{source}.{name}]")
    lines += ["", "Everything else, by room:", "", "| | names |", "|---|---|"]
    for room in ROOMS:
        module = f"keras_jft.{room}"
        names = {
            name: _path(module, source, name)
            for source, found in exported(module).items()
            for name in found
        }
        cells = [
            f"[`{name}`]({room}.{name}.md)"
            if f"{room}.{name}" in ROOMS
            else f"[`{name}`][{names[name]}]"
            for name in sorted(names, key=str.lower)
        ]
        lines.append(f"| [`jft.{room}`]({room}.md) | {', '.join(cells)} |")
    return "\n".join(lines)


def _prose(docstring):
    return Doctests.fenced(docstring)


class Doctests(griffe.Extension):
    """Show the examples of docstrings, which are doctests, as code."""

    def on_object(self, *, obj, **kwargs):
        """Fence the doctests of one object's docstring."""
        if obj.docstring:
            obj.docstring.value = self.fenced(obj.docstring.value)

    @staticmethod
    def fenced(text):
        """Return a docstring with each doctest in a fence of its own."""
        return re.sub(
            r"^( *)>>> .*(?:\n\1\S.*)*",
            lambda block: "\n".join(
                f"{block[1]}{line}" if i in ("first", "last") else line
                for i, line in (
                    ("first", "```pycon"),
                    ("", block[0]),
                    ("last", "```"),
                )
            ),
            text,
            flags=re.MULTILINE,
        )


# === Benchmarks ===

# The parts of the page, in order, with the scripts of each.
PARTS = {
    "What the paper asked": [
        "paper.py",
        "data_size.py",
        "detection.py",
        "segmentation.py",
        "pose.py",
        "epochs.py",
        "classes.py",
        "capacity.py",
        "backbones.py",
        "initialization.py",
        "frozen_vs_finetuned.py",
        "label_noise.py",
        "long_tail.py",
        "learning_rate.py",
        "duplicates.py",
        "downpour.py",
    ],
    "Forecasts": [
        "backtest.py",
        "prior.py",
        "coverage.py",
        "learning_curves.py",
        "sequential.py",
        "joint.py",
    ],
    "What is lost when things break": [
        "reliability.py",
        "damaged_data.py",
        "damaged_records.py",
    ],
}


def _scripts():
    """Return `{part: scripts}`: those named above, speed, and all others."""
    parts = {
        part: [BENCHMARKS / name for name in names]
        for part, names in PARTS.items()
    }
    known = {path for paths in parts.values() for path in paths}
    found = [
        path
        for path in sorted(BENCHMARKS.rglob("*.py"))
        if path not in known
        and re.search(r"^Commands?\b", _docstring(path), re.MULTILINE)
    ]
    parts["Others"] = [path for path in found if path.parent == BENCHMARKS]
    parts["Speed"] = [path for path in found if path.parent != BENCHMARKS]
    return {part: paths for part, paths in parts.items() if paths}


def benchmarks_page():
    """Return the page of all benchmarks: questions, results and figures."""
    parts = _scripts()
    lines = ["# Benchmarks", ""]
    lines += [
        "Each benchmark is a script that states its question, its command and "
        "what came out, with seeds and machine. This page is made of these "
        "scripts and of the figures of their rows (`benchmarks/results`). "
        "Each has a `--smoke`, which the tests run; `make figures` draws the "
        "figures again.",
        "",
    ]
    for part, paths in parts.items():
        lines += [f"- **{part}**"]
        for path in paths:
            title = _docstring(path).splitlines()[0]
            lines.append(f"    - [{title}](#{_anchor(path)})")
    for part, paths in parts.items():
        lines += ["", f"## {part}", ""]
        for path in paths:
            lines += _section(path)
    return "\n".join(lines)


def _anchor(path):
    return str(path.relative_to(BENCHMARKS).with_suffix("")).replace("/", "-")


def _section(path):
    name = str(path.relative_to(ROOT))
    title, _, text = _docstring(path).partition("\n")
    lines = [f"### {title} {{ #{_anchor(path)} }}", ""]
    lines += [f"[`{name}`](../{name})", "", text.strip("\n"), ""]
    for figure in _figures(path):
        where = ", Tiny ImageNet" * figure.stem.endswith("_tiny_imagenet")
        link = f"../benchmarks/figures/{figure.name}"
        lines += [f"![{title}{where}]({link})", ""]
    return lines


def _figures(path):
    """Return the figures of a script: those of its name."""
    if path.parent != BENCHMARKS and (BENCHMARKS / path.name).exists():
        return []  # They are of the other script of that name.
    names = (f"{path.stem}.png", f"{path.stem}_tiny_imagenet.png")
    found = [BENCHMARKS / "figures" / name for name in names]
    return [figure for figure in found if figure.exists()]


# === Recipes ===


def _recipes():
    import keras_jft as jft

    return _table(jft.pretrain.RECIPES, jft.pretrain.Config())


def _head_recipes():
    import keras_jft as jft

    recipes = {
        f"{head}, {name}": config
        for head, configs in jft.transfer.RECIPES.items()
        for name, config in configs.items()
    }
    return _table(recipes, jft.transfer.Config())


def _table(recipes, default):
    """Return a table of what configs differ in from the default."""
    lines = ["| recipe | settings |", "|---|---|"]
    for name, config in recipes.items():
        settings = [
            f"`{field.name}={_shown(getattr(config, field.name))}`"
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != getattr(default, field.name)
        ]
        lines.append(f"| `{name}` | {', '.join(settings) or 'the defaults'} |")
    return "\n".join(lines)


def _shown(value):
    """Return a value as code; a transform by its class, with its arguments."""
    if isinstance(value, tuple):
        items = ", ".join(map(_shown, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if type(value).__module__.startswith("keras_jft"):
        given = ", ".join(f"{k}={v!r}" for k, v in vars(value).items())
        return f"{type(value).__name__}({given})"
    return repr(value)
