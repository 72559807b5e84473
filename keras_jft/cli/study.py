"""The commands `keras-jft study` and `keras-jft init`."""

import argparse
import contextlib
import os
import pathlib
import re
import shlex
import sys

import keras_jft as jft
from keras_jft import files
from keras_jft.text_files import read_text

OK, FAILED = 0, 1  # Statuses: whether every run succeeded.
# Options that say what a STUDY.toml says, which is why there is just one.
IN_THE_FILE = ("images", "tasks", "sizes", "seeds")


def _add_folders(parser):
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=pathlib.Path,
        help="images to pre-train on",
    )
    parser.add_argument(
        "--task",
        dest="tasks",
        action="append",
        metavar="NAME=DIR",
        help="a task and its images; give it once per task. A name such as "
        "detection or segmentation also says what the images are for",
    )


def add_study(parser):
    """Add the options of `keras-jft study`."""
    parser.add_argument(
        "study",
        metavar="STUDY.toml",
        nargs="?",
        type=pathlib.Path,
        help="a file that says all of this, such as `keras-jft init` writes, "
        "in place of --images and --task",
    )
    _add_folders(parser)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        help="how many images to pre-train on, such as 0 100 300 1000 3000; 0 "
        "is no pre-training",
    )
    parser.add_argument(
        "--seeds", type=int, help="runs of each size (default: 3)"
    )
    parser.add_argument(
        "--hours",
        type=float,
        help="choose sizes and seeds that take at most so many hours; how "
        "long a run takes is measured first",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=pathlib.Path,
        help="the folder of results (default: what STUDY.toml says, or study)",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="do only these tasks"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what was found and the runs to do, and train nothing",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="repeat runs that failed"
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write logs of each run, for tensorboard --logdir OUTPUT",
    )
    parser.add_argument(
        "--executor",
        metavar="WHERE",
        help="do the runs elsewhere: processes:N, dask://HOST:PORT, "
        "submitit[:KEY=VALUE,...] or ray (default: one by one, here)",
    )
    parser.add_argument(
        "--search-rates",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="try three learning rates at the smallest and the largest size "
        "first, where there are none in STUDY.toml (default: yes)",
    )


def run_study(arguments):
    """Run `keras-jft study`; return its status."""
    text = path = None
    if arguments.study is None:
        path = (arguments.output or pathlib.Path("study")) / "study.toml"
        text = _text_of(arguments, path.parent)
        _check_same(path, text)
    elif any(getattr(arguments, name) for name in IN_THE_FILE):
        raise ValueError(
            "Give a STUDY.toml, or --images, --task, --sizes and --seeds. "
            "Received both."
        )
    else:
        path = arguments.study
        text = read_text(path)
    with jft.scaling.open_executor(
        arguments.executor, (arguments.output or path.parent) / "submitit"
    ) as executor:
        return _run_plan(arguments, path, text, executor)


def _run_plan(arguments, path, text, executor):
    with _told_of_options(arguments, path):
        plan = jft.scaling.read_plan(
            path, arguments.only, text, output=arguments.output
        )
    if arguments.hours is not None:
        plan = jft.scaling.fit_hours(plan, arguments.hours, executor)
    if arguments.study is None and not arguments.dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    searched = jft.scaling.num_search_runs(plan)["transfer"]
    if arguments.search_rates and searched:
        print(
            f"Learning rates are searched first, in up to {searched} runs at "
            "the smallest and the largest size (--no-search-rates: not at all)"
        )
        if not arguments.dry_run:
            plan = jft.scaling.search_rates(plan, executor)
    study = plan.study(
        arguments.tensorboard, retry_failed=arguments.retry_failed
    )
    print(plan)
    if arguments.dry_run:
        left = study.outlook()
        print(left)
        if left.unknown and arguments.hours is None:
            print(
                "How long that takes is measured by --hours 2, which also "
                "chooses sizes and seeds that fit into two hours"
            )
        return OK
    jft.scaling.write_study(plan, text)
    rows = study.run(executor)
    print(f"\n{jft.scaling.table(rows)}")
    pairs = (plan.output / "backbones" / "duplicates").glob("*.svg")
    page, text = jft.scaling.report(
        rows,
        plan.output / "report.html",
        near_duplicates={path.stem: path for path in sorted(pairs)},
        title="What would ten times more data buy?",
        command=shlex.join(["keras-jft", *sys.argv[1:]]),
    )
    print(f"Rows: {study.path}\nDecision: {page} (as text: {text})")
    return FAILED if jft.scaling.Rows(rows).failed.any() else OK


@contextlib.contextmanager
def _told_of_options(arguments, path):
    """Leave out the file and line of errors if options stand for the file."""
    try:
        yield
    except ValueError as error:
        if getattr(arguments, "study", None) is not None:
            raise
        place = rf"^{re.escape(repr(str(path)))}, line \d+: "
        raise ValueError(re.sub(place, "", str(error))) from None


def _check_same(path, text):
    """Raise a `ValueError` if options differ from those of a study before."""
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{str(path)!r} is of a study with other options. Run `keras-jft "
            f"study {path}`, or give another `output`."
        )


def _text_of(arguments, output):
    """Return the text of the TOML file that options stand for."""
    if not (arguments.images and arguments.tasks):
        raise ValueError(
            f"Give {'' if arguments.command == 'init' else 'a STUDY.toml, or '}"
            "--images DIR and --task NAME=DIR."
        )
    tasks = {}
    for word in arguments.tasks:
        name, is_there, folder = word.partition("=")
        if not (name and is_there and folder) or name in tasks:
            raise ValueError(
                f"`tasks` must be NAME=DIR, each name once. Received: {word!r}."
            )
        tasks[name] = os.path.abspath(folder)
    files.check_local("output", output, "study")
    seeds = getattr(arguments, "seeds", None)
    return jft.scaling.study_text(
        os.path.abspath(arguments.images),
        tasks,
        os.path.abspath(output),
        sizes=getattr(arguments, "sizes", None),
        seeds=seeds and list(range(seeds)),
    )


def add_init(parser):
    """Add the options of `keras-jft init`."""
    _add_folders(parser)
    parser.add_argument(
        "--output",
        default="study.toml",
        metavar="FILE",
        type=pathlib.Path,
        help="the file to write (default: study.toml)",
    )


def run_init(arguments):
    """Run `keras-jft init`."""
    path = arguments.output
    if path.exists():
        raise ValueError(f"{str(path)!r} exists. Give another `output`.")
    text = _text_of(arguments, path.with_suffix(""))
    with _told_of_options(arguments, path):
        plan = jft.scaling.read_plan(path, text=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(jft.scaling.commented(text, plan), encoding="utf-8")
    print(f"{plan}\nWritten: {path}. Next: keras-jft study {path} --dry-run")
