"""What a page shows runs: Python, commands, links, tables and versions."""

import ast
import contextlib
import importlib
import inspect
import io
import pathlib
import re
import shlex

import pytest
from PIL import Image
from scipy import stats

import keras_jft as jft
from keras_jft import cli
from keras_jft.training.distribution import launch

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(
    r"^(?P<note><!-- not run: .+ -->\n)?```(?P<kind>\w+)\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"(?<=\n\n)((?:    .*\n|\n)+)")
# Programs of others, whose options are theirs.
OTHERS = {"grep", "unshare", "git", "export", "cd", "docker", "kubectl"}


def _name(path):
    return str(path.relative_to(ROOT))


def _fences(path, kind):
    """Yield (whether it can be run, code) of each fence of one kind."""
    for found in FENCE.finditer(path.read_text(encoding="utf-8")):
        if found["kind"] == kind:
            yield found["note"] is None, found["code"]


def _python(path):
    """Yield all Python on a page, also that in indented blocks."""
    for _, code in _fences(path, "python"):
        yield code
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for block in INDENTED.findall(text):
        code = inspect.cleandoc(block)
        with contextlib.suppress(SyntaxError):  # A command, YAML, a formula.
            if "jft." in code and ">>>" not in code:
                ast.parse(code)
                yield code


WITH_PYTHON = [path for path in PAGES if any(True for _ in _python(path))]
RUN = [
    path
    for path in PAGES
    if any(can_run for can_run, _ in _fences(path, "python"))
]


# === Python ===


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN, ids=_name)
def test_the_python_on_a_page_runs(path, tmp_path, monkeypatch):
    """In the order of the page, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    _write_scores(tmp_path / "scores.csv")
    page = {"__name__": "page"}
    for can_run, code in _fences(path, "python"):
        if can_run:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, _name(path), "exec"), page)


@pytest.mark.parametrize("path", WITH_PYTHON, ids=_name)
def test_the_calls_on_a_page_fit_their_signatures(path):
    calls = [call for code in _python(path) for call in _calls(code)]
    for name, call in calls:
        function = _reached(name)
        if callable(function) and not _is_a_sketch(call):
            signature = inspect.signature(function)
            keywords = {word.arg: None for word in call.keywords if word.arg}
            is_all = len(keywords) == len(call.keywords)  # No `**arguments`.
            bind = signature.bind if is_all else signature.bind_partial
            try:
                bind(*call.args, **keywords)
            except TypeError as error:
                where = f"{_name(path)}: {ast.unparse(call)}"
                raise AssertionError(f"{where}: {error}") from None


def _is_a_sketch(call):
    """Whether a call leaves arguments out: `f(*some)` or `f(...)`."""
    return any(
        isinstance(argument, ast.Starred) or ast.unparse(argument) == "..."
        for argument in call.args
    )


def test_a_wrong_call_on_a_page_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# A\n\n    jft.data.subset(data, examples=3)\n\nEnd.\n")
    with pytest.raises(AssertionError, match="examples"):
        test_the_calls_on_a_page_fit_their_signatures(page)


def _calls(code):
    """Yield (dotted name, call) of calls of the package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if re.fullmatch(r"jft(\.\w+)+", name):
                yield name, node


def _reached(name):
    found = jft
    for i, part in enumerate(name.split(".")[1:], start=2):
        if not hasattr(found, part):
            importlib.import_module(
                ".".join(["keras_jft", *name.split(".")[1:i]])
            )
        found = getattr(found, part)
    return found


# === Commands ===


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_the_commands_on_a_page_are_ones_that_there_are(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    indented = [inspect.cleandoc(block) for block in INDENTED.findall(text)]
    blocks = [code for _, code in _fences(path, "sh")]
    blocks += [
        code
        for code in indented
        if code.partition(" ")[0] in ("keras-jft", "make", "pip", "python")
    ]
    for code in blocks:
        for words in _commands(code):
            _check(words)


def test_a_wrong_command_on_a_page_is_seen():
    for wrong in (
        "keras-jft forecast scores.csv --scores accuracy",
        "python examples/pose.py --coko DIR",
        "make everything",
        'pip install "keras_jft[all]"',
        "keras_jft forecast",
    ):
        with pytest.raises((AssertionError, SystemExit)):
            _check(shlex.split(wrong))


def _commands(code):
    """Yield the words of each command of a shell block."""
    for line in re.sub(r"\\\n", " ", code).splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def _check(words):
    program, *rest = words
    if program == "keras-jft":
        if "--help" not in rest:
            cli._parser().parse_args(rest)
    elif program == "make":
        targets = re.findall(
            r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE
        )
        assert [w for w in rest if "=" not in w][0] in targets, words
    elif program == "pip":
        _check_pip(rest)
    elif program == "python":
        _check_script(rest)
    else:
        assert program in OTHERS, f"What is {program!r}? {words}"


def _check_pip(words):
    extras = re.findall(
        r"^(\w+) =", _section("options.extras_require"), re.MULTILINE
    )
    for word in words:
        named = re.search(r"\[(.+)\]$", word)
        if named:
            assert set(named[1].split(",")) <= set(extras), word
        if word.endswith(".txt"):
            assert (ROOT / word).exists(), word


def _section(name):
    """Return the text of a section of setup.cfg."""
    _, _, rest = f"\n{_text('setup.cfg')}".partition(f"\n[{name}]\n")
    return rest.split("\n[")[0]


def _check_script(words):
    if words[:2] == ["-m", "keras_jft.training.launch"]:
        script = next(word for word in words if word.endswith(".py"))
        place = words.index(script)
        if (ROOT / script).exists():  # Otherwise it is the reader's own.
            _check_script(words[place:])
        path, words = pathlib.Path(launch.__file__), words[:place]
    else:
        path = ROOT / words[0]
    text = path.read_text(encoding="utf-8")
    if "arms" in re.findall(r"^import (\w+)", text, re.MULTILINE):
        text += (ROOT / "benchmarks" / "arms.py").read_text(encoding="utf-8")
    options = {word for word in words[1:] if word.startswith("--")}
    known = set(re.findall(r'"(--[\w-]+)"', text))
    assert options <= known, f"{words}: {options - known}"


def test_the_study_on_its_page_can_be_read(tmp_path, rng):
    (text,) = (x for _, x in _fences(ROOT / "docs/studies.md", "toml"))
    for folder in ("photos", "task_folder"):
        for name in ("cats", "dogs"):
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(50):
                pixels = rng.integers(0, 256, (16, 16, 3), "uint8")
                path = tmp_path / folder / name / f"{i}.png"
                Image.fromarray(pixels).save(path)
    plan = jft.scaling.read_plan(tmp_path / "study.toml", text=text)
    assert list(plan.tasks) == ["cats"]


# === Links ===

LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_the_links_of_a_page_lead_somewhere(path):
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{_name(path)}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{_name(path)}: {link}"


def _anchors(path):
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in titles
    }


# === README ===

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_can_be_read_in_two_minutes():
    assert len(README.splitlines()) <= 130


def test_the_forecast_of_the_readme_is_what_the_command_says(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    _write_scores(tmp_path / "scores.csv")
    (command,) = [
        words
        for _, code in _fences(ROOT / "README.md", "sh")
        for words in _commands(code)
        if words[:2] == ["keras-jft", "forecast"]
    ]
    (shown,) = (code for _, code in _fences(ROOT / "README.md", "text"))
    assert cli.main(command[1:]) == 0
    # Numbers may move by a digit with the machine and the prior.
    said = re.sub(r"[\d.]+", "#", capsys.readouterr().out)
    assert re.sub(r"[\d.]+", "#", shown) in said
    assert (tmp_path / "report.html").exists()


def _write_scores(path):
    """Write what `grep` of README finds."""
    (pattern, file) = re.search(r"grep -E '(.+)' (\S+) >", README).groups()
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines(True)
    path.write_text("".join(x for x in lines if re.match(pattern, x)))


# Task, rows, score and the words of the table.
FOUND = {
    "10 unseen classes, 20 images each": (
        "data_size",
        "classification",
        "top1",
    ),
    "street scenes (CamVid)": ("data_size", "segmentation", "miou"),
    "blood cells (BCCD)": ("detection", "detection", "ap50"),
    "people in sports (LSP)": ("pose", "pose", "pck"),
}


@pytest.mark.parametrize("words", FOUND)
def test_the_findings_of_the_readme_are_those_of_the_rows(words):
    name, task, score = FOUND[words]
    rows = jft.scaling.read_rows(ROOT / f"benchmarks/results/{name}.jsonl")
    cells = []
    for mode in ("frozen", "fine_tuned"):
        random, largest = (
            [
                100 * row[score]
                for row in rows
                if (row["task"], row["mode"]) == (task, mode)
                and row["num_examples"] == size
            ]
            for size in (0, 95_000)
        )
        assert len(random) == len(largest) == 3
        interval = stats.ttest_ind(
            largest, random, equal_var=False
        ).confidence_interval(0.95)
        gain = sum(largest) / 3 - sum(random) / 3
        cells.append(f"{gain:+.1f} [{interval.low:.1f}, {interval.high:.1f}]")
    row = next(x for x in README.splitlines() if x.startswith(f"| {words} |"))
    assert row.endswith(f"| {cells[0]} | {cells[1]} |")


def test_the_readme_counts_the_data_sets():
    assert f"| {len(jft.data.DATASETS)} kinds of data sets" in README


def test_the_readme_names_every_command():
    (row,) = (x for x in README.splitlines() if x.startswith("| `keras-jft`"))
    assert set(re.findall(r"`(\w+)`", row)) == set(cli.COMMANDS)


# === One version, one address ===


def test_the_version_is_written_once_and_cited_the_same():
    cited = re.search(r"^version: (.+)$", _text("CITATION.cff"), re.M)[1]
    assert cited == jft.__version__


def test_all_files_give_the_same_address():
    address = re.search(r"^url = (.+)$", _section("metadata"), re.M)[1]
    assert f"repository-code: {address}\n" in _text("CITATION.cff")
    assert f"repo_url: {address}\n" in _text("mkdocs.yml")


def _text(name):
    return (ROOT / name).read_text(encoding="utf-8")


# Pages that only the site has (docs/made_pages.py).
MADE = {"benchmarks.md", "contributing.md", "changelog.md"}


def test_the_site_lists_every_page_and_every_room():
    listed = re.findall(r"[\w./]+\.md", _text("mkdocs.yml"))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} | MADE
    assert {name for name in listed if not name.startswith("api/")} == pages
    shown = {name for name in listed if name.startswith("api/")}
    rooms = {
        name
        for name in jft.__all__
        if inspect.ismodule(_reached(f"jft.{name}"))
    }
    assert {f"api/{room}.md" for room in rooms} <= shown
