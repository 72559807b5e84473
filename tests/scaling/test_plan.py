"""A study of folders: what is found, chosen, refused and said."""

import re

import numpy as np
import pytest
from folder_studies import SHORT

from keras_jft import backbones, cli
from keras_jft.scaling import (
    Decided,
    Runner,
    commented,
    read_plan,
    study_text,
)
from keras_jft.scaling.study import budget, defaults
from keras_jft.scaling.study.toml_file import TomlFile

pytestmark = pytest.mark.usefixtures("uncompiled")


def test_two_folders_are_a_whole_study(plan, folders):
    found = plan(SHORT)
    # 100 / 32 images would be too few.
    assert found.sizes[0] == 0 and found.sizes[-1] == 100
    assert len(found.sizes) == 6 and list(found.sizes) == sorted(found.sizes)
    runs = found.runs()
    # Sizes, modes and seeds.
    assert len(runs) == 6 * 2 * 3
    assert {run.arm for run in runs} == {"trees"}
    assert found.pretrain.image_size == (32, 32)
    assert found.output == folders / "study"
    said = str(found)
    assert "photos: one folder per class: 2 classes (classification)" in said
    assert "images are about 40 x 32 pixels" in said
    assert "the pre-training has 1 of its 2 classes, such as 'Elm'" in said


def test_a_study_may_stop_when_its_verdict_is_settled(plan):
    assert plan(SHORT).study().until is None
    found = plan(f'until = "decided"\n{SHORT}')
    assert found.study().until == Decided()
    assert found.study(until=None).until is None


def test_what_is_given_replaces_what_would_be_chosen(plan):
    found = plan(
        """
        output = "here"
        sizes = [0, 64, 100]
        seeds = [4]

        [pretrain]
        images = "photos"
        image_size = [48, 64]
        epochs = 2

        [tasks.trees]
        images = "task"
        modes = ["probe"]
        learning_rate = 0.5

        [tasks.trees.evaluation]
        batch_size = 7
        """
    )
    assert found.sizes == (0, 64, 100) and found.seeds == (4,)
    assert found.pretrain.image_size == (48, 64)
    assert found.pretrain.transforms[0].image_size == (48, 64)
    assert found.pretrain.epochs == 2
    (task,) = found.tasks.values()
    assert task.transfer.learning_rate == 0.5
    assert task.evaluation.batch_size == 7
    assert {run.mode for run in found.runs()} == {"probe"}
    assert found.output.name == "here"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("[pretrain]", "[pretrain]\nepoch = 3", 3, "Did you mean 'epochs'?"),
        ("[pretrain]", "[pretrain]\nepochs = -3", 3, "`epochs` must be 1"),
        ("[pretrain]", "[pretrain]\nblock = 'x'", 3, "`block` must be one of"),
        ("[pretrain]", "size = 3\n[pretrain]", 2, "'size' is not a key of a"),
        ("[pretrain]", "sizes = [0, 7]\n[pretrain]", 2, "at least the `batch"),
        ("[pretrain]", "sizes = [\n0,\n200]\n[pretrain]", 2, "at most 100"),
        ("[pretrain]", "sizes = 3\n[pretrain]", 2, "`sizes` must be a list"),
        ("[pretrain]", 'until = "done"\n[pretrain]', 2, "`until` must be"),
        (
            "[pretrain]",
            'sizes = [0, 64]\nuntil = "decided"\n[pretrain]',
            3,
            "no verdict to wait for",
        ),
        ("[pretrain]", "seeds = [-1]\n[pretrain]", 2, "0 or more"),
        ("[pretrain]", "seeds = []\n[pretrain]", 2, "one or more"),
        ("[pretrain]", "seeds = [0, 0]\n[pretrain]", 2, "each once"),
        ('"task"', '"task"\nmodes = []', 7, "`modes` must be a list of one"),
        ('"task"', '"task"\nmodes = "probe"', 7, "`modes` must be a list"),
        ('"task"', '"task"\nmodes = ["x"]', 7, "`modes` must be one of"),
        (
            '"task"',
            '"task"\nmodes = ["probe", "probe"]',
            7,
            "each mode once",
        ),
        ('"task"', '"task"\nhead = "faster_rcnn"', 7, "needs images for det"),
        ('"task"', '"task"\nhead = "pose"', 7, "keypoints of people"),
        ("[pretrain]", "output = 'task'\n[pretrain]", 2, "outside those of"),
        ("[pretrain]", "output = 'photos/a'\n[pretrain]", 2, "outside those"),
        ('"task"', '"task"\nhead = "hat"', 7, "`head` must be one of"),
        ('"task"', '"none"', 6, "There is no folder"),
        ("[pretrain]", "[pretrain]\ninitial = 3", 3, "`initial` must be the"),
        ("[pretrain]", '[pretrain]\ninitial = "x.keras"', 3, "a file that ex"),
        ("[pretrain]", '[pretrain]\nbackbone = "x.npz"', 3, "a file that ex"),
        (
            '"task"',
            '"task"\n[pretrain.initial]\nimages = "photos"\nepoch = 3',
            9,
            "is not a key of pretrain.initial",
        ),
        (
            '"task"',
            '"task"\n[pretrain.initial]\nimages = "photos"\nepochs = 0',
            9,
            "`epochs` must be 1 or more",
        ),
        ('images = "task"', "images = 3", 6, "`images` must be a folder"),
        ('images = "task"', "epochs = 3", 5, "must have either `images`"),
    ],
)
def test_a_fault_of_a_study_is_told_with_its_line(
    plan, old, new, line, message
):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        plan(SHORT.replace(old, new))
    assert f"study.toml', line {line}: " in str(error.value)


def test_a_data_set_without_boxes_fits_no_head_for_boxes(plan, folders):
    (folders / "task").rename(folders / "train")
    text = 'output = "../elsewhere"' + SHORT.replace(
        'images = "task"',
        'dataset = "image_folder"\nhead = "faster_rcnn"\n'
        f'options = {{ directory = "{folders}" }}\n',
    )
    with pytest.raises(ValueError, match="line 7: `head`.*images with box"):
        plan(text)


def test_text_that_is_not_toml_is_told_with_its_line(plan):
    with pytest.raises(ValueError, match="is not TOML: .*line 2"):
        plan("\nsizes = [1,, 2]")
    with pytest.raises(ValueError, match=r"needs a table \[pretrain\]"):
        plan('[tasks.trees]\nimages = "task"')
    with pytest.raises(ValueError, match="needs one task or more"):
        plan('[pretrain]\nimages = "photos"')


def test_the_line_of_a_value_is_where_it_begins(tmp_path):
    file = TomlFile("a.toml", "a = 1\n[t]\n# Here:\nb = [\n  1,\n]\nc = 2\n")
    assert file.where("t", "b") == "'a.toml', line 4"
    assert file.where("t", "c") == "'a.toml', line 7"
    assert file.where("t", "d") == "'a.toml', line 2"


def test_images_that_teach_nothing_are_refused(plan, folders, save):
    save("one/oak", 100)
    with pytest.raises(ValueError, match="two classes or more"):
        plan(SHORT.replace('"photos"', '"one"'))
    for name in ("oak", "elm"):
        save(f"few/{name}", 10)
    with pytest.raises(ValueError, match="at least 80 images. Received: 20"):
        plan(SHORT.replace('"photos"', '"few"'))
    save("mixed/images", 2), save("mixed/masks", 2)
    with pytest.raises(ValueError, match=r"colored|labels of whole images"):
        plan(SHORT.replace('"photos"', '"mixed"'))


@pytest.mark.slow
def test_a_task_may_have_many_labels(plan, tmp_path):
    found = plan(
        f"""{SHORT}
[tasks.tags]
dataset = "synthetic"
options = {{ task = "many_label", num_examples = 48 }}
epochs = 1
batch_size = 16
"""
    )
    config = found.tasks["tags"].transfer
    assert config.head == "multi_label"
    assert 0 < config.head_options["label_prior"] < 0.5
    run = next(run for run in found.runs() if run.arm == "tags")
    assert (run.num_examples, run.task) == (0, "multi_label")
    assert 0 < Runner(tmp_path / "kept")(run)["map"] < 1


def test_one_epoch_is_not_told_as_several(plan):
    for setting, said in (
        ("epochs = 1", "1 epoch, 16 images per step"),
        ("steps = 1", "1 step, 16 images per step"),
        ("epochs = 2\nbatch_size = 1", "2 epochs, 1 image per step"),
    ):
        text = SHORT.replace('"photos"', f'"photos"\n{setting}')
        assert f"- pre-training: {said}\n" in str(plan(text))


def test_a_study_starts_from_another_pre_training(plan, folders, save):
    for name in ("ash", "yew"):
        save(f"before/{name}", 20)
    found = plan(
        SHORT.replace('"photos"', '"photos"\nwidth = 8\nlearning_rate = 0.7')
        + '[pretrain.initial]\nimages = "before"\nsteps = 3\n'
    )
    before = found.pretrain.initial
    # The same net; what else it is trained with follows from its own images.
    assert (before.width, before.steps, before.epochs) == (8, 3, None)
    assert before.learning_rate == 0.03
    assert before.options["directory"] == str(folders / "before")
    # One for all sizes and seeds.
    assert {id(run.pretrain.initial) for run in found.runs()} == {id(before)}
    said = str(found)
    assert (
        "- initial weights, from one pre-training for all sizes: 3 steps, 16 im"
        in said
    )
    assert "sizes: 0, 16, 25, 40, 63, 100 (0: the initial weights a" in said


def test_a_study_starts_from_a_saved_backbone(plan, folders, tiny_backbone):
    path = folders / "nets" / "before.keras"
    path.parent.mkdir()
    tiny_backbone.save(path)
    saved = '"photos"\ninitial = "nets/before.keras"'
    found = plan(SHORT.replace('"photos"', saved))
    assert found.pretrain.initial == str(path)
    assert "(0: the initial weights alone)" in str(found)
    assert "(0: random initialization)" in str(plan(SHORT))
    weights = "\nbackbone = 'resnet50'\nbackbone_options = {weights = 'x.npz'}"
    found = plan(SHORT.replace('"photos"', f'"photos"{weights}'))
    assert "(0: the initial weights alone)" in str(found)
    # Of a file, too, only if they are asked for.
    path = folders / "nets" / "net.npz"
    backbones.save(tiny_backbone, path)
    net = "\nbackbone = 'nets/net.npz'"
    found = plan(SHORT.replace('"photos"', f'"photos"{net}'))
    assert "(0: random initialization)" in str(found)
    net += "\nbackbone_options = {weights = 'imagenet'}"
    found = plan(SHORT.replace('"photos"', f'"photos"{net}'))
    assert "(0: the initial weights alone)" in str(found)


def test_only_some_tasks_are_done(plan):
    text = SHORT + SHORT.split("\n\n")[1].replace("trees", "more")
    assert list(plan(text, only=["more"]).tasks) == ["more"]
    with pytest.raises(ValueError, match="`only` must be one of"):
        plan(text, only=["none"])


def test_a_commented_file_is_the_same_study_with_and_without_comments(
    folders,
):
    text = study_text(
        folders / "photos", {"trees": folders / "task"}, folders / "out"
    )
    path = folders / "study.toml"
    plan = read_plan(path, text=text)
    shown = commented(text, plan)
    assert "# image_size = [32, 32]" in shown
    again = read_plan(path, text=shown)
    filled = re.sub(r"^# (\w+ = )", r"\1", shown, flags=re.MULTILINE)
    assert filled.count("\n#") < shown.count("\n#")
    for other in (again, read_plan(path, text=filled)):
        assert other.runs() == plan.runs()


@pytest.fixture
def study_words(folders):
    """The words of a dry run of a study of the folders."""
    return [
        *("study", "--images", str(folders / "photos"), "--dry-run"),
        *("--task", f"trees={folders / 'task'}"),
        *("--output", str(folders / "out")),
    ]


def test_a_dry_run_or_a_mistake_keeps_no_options(study_words, folders, capsys):
    assert cli.main(study_words) == 0
    for wrong in (["--sizes", "1"], ["--task", "none=nowhere"]):
        with pytest.raises(SystemExit):
            cli.main([*study_words[:3], *study_words[4:], *wrong])
        # A file that the options stand for, and that nobody wrote.
        assert "study.toml" not in capsys.readouterr().err
    assert not (folders / "out" / "study.toml").exists()
    assert cli.main([*study_words, "--seeds", "2"]) == 0
    assert "seeds: 0, 1\n" in capsys.readouterr().out


def test_a_dry_run_counts_the_search_and_says_how_to_measure_time(
    study_words, capsys
):
    assert cli.main(study_words) == 0
    said = capsys.readouterr().out
    # Three rates, at two sizes: of pre-training, and in two modes.
    assert "searched first, in up to 18 runs" in said
    assert said.splitlines()[-1].startswith("How long that takes is measured")
    assert cli.main([*study_words, "--no-search-rates"]) == 0
    assert "searched" not in capsys.readouterr().out


def test_a_study_with_other_options_is_not_written_over(
    study_words, folders, capsys
):
    (folders / "out").mkdir()
    path = folders / "out" / "study.toml"
    path.write_text("seeds = [7]")
    with pytest.raises(SystemExit):
        cli.main(study_words)
    assert "with other options" in capsys.readouterr().err
    assert path.read_text() == "seeds = [7]"


def test_the_output_of_a_file_can_be_another(
    folders, capsys, monkeypatch, plan
):
    monkeypatch.chdir(folders)
    text = f'output = "here"\n{SHORT}'
    (folders / "study.toml").write_text(text)
    words = ["study", "study.toml", "--dry-run", "--output"]
    assert cli.main([*words, "there"]) == 0
    assert (folders / "there" / "parts").exists()
    assert not (folders / "here").exists()
    with pytest.raises(SystemExit):
        cli.main([*words, "task/new"])
    error = capsys.readouterr().err
    assert "error: `--output` must be a folder outside those of im" in error
    found = plan(text, output=folders / "there")
    assert found.study().path == folders / "there" / "rows.jsonl"


def test_a_fault_of_a_file_is_told_in_its_keys(folders, capsys):
    path = folders / "study.toml"
    path.write_text(f"seeds = [0, 0]\n{SHORT}")
    with pytest.raises(SystemExit):
        cli.main(["study", str(path), "--dry-run"])
    error = capsys.readouterr().err
    assert "line 1: `seeds` must name one or more, each once" in error
    path.write_text(SHORT)
    with pytest.raises(SystemExit):
        cli.main(["study", str(path), "--dry-run", "--only", "none"])
    assert "`--only` must be one of" in capsys.readouterr().err


def test_nothing_is_written_into_a_folder_of_images(
    study_words, folders, monkeypatch, capsys
):
    monkeypatch.chdir(folders)
    before = sorted(folders.rglob("*"))
    init = ["init", *study_words[1:3], *study_words[4:6]]
    for words in (
        [*init, "--output", "task.toml"],
        [*study_words[:-1], str(folders / "task")],
        [*study_words[:-1], str(folders / "photos" / "oak" / "new")],
    ):
        with pytest.raises(SystemExit):
            cli.main(words)
        error = capsys.readouterr().err
        assert "`--output` must be a folder outside those of images" in error
        assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize(
    "head", ["", '[tasks.trees]\nimages = "photos"\n[tasks.trees.evaluation]']
)
def test_nothing_is_written_into_a_folder_that_options_name(
    plan, folders, monkeypatch, head
):
    monkeypatch.chdir(folders)
    with pytest.raises(
        ValueError, match="line 1: `output` must be a folder ou"
    ):
        plan(
            'output = "task/new"\n[pretrain]\nimages = "photos"\n'
            f"{head or '[tasks.trees]'}\n"
            'dataset = "image_folder"\noptions = { directory = "task" }\n'
        )


@pytest.mark.parametrize(
    ("sizes", "said"), [([80], "is 1"), ([0, 64, 80], "are 2")]
)
def test_sizes_too_few_for_a_forecast_are_said_before_they_run(
    plan, sizes, said
):
    found = str(plan(f"sizes = {sizes}\n{SHORT}"))
    assert f"- no forecast: it needs 4 sizes above 0, and there {said}" in found
    assert "no forecast" not in str(plan(SHORT))


def test_a_faulty_box_is_warned_of_and_ends_no_study(plan, folders, save):
    save("boxes/train/images", 20)
    (folders / "boxes" / "train" / "labels").mkdir()
    for i in range(20):
        path = folders / "boxes" / "train" / "labels" / f"{i:03}.txt"
        path.write_text("0 0.5 0.5 0.2 0.2\n" + "0 0.5 0.5 0 0\n" * (i == 3))
    about = "train: train/images\nnames: [nest]\n"
    (folders / "boxes" / "data.yaml").write_text(about)
    with pytest.warns(UserWarning, match="Left out 1 annotation of"):
        found = plan(SHORT.replace('"task"', '"boxes"'))
    (task,) = found.tasks.values()
    assert task.transfer.head == "faster_rcnn"
    # 0.2 of 40 x 32 pixels, in an image of 48 x 32: 9.6 x 6.4.
    assert task.transfer.image_size == (32, 48)
    assert task.transfer.head_options["anchor_base"] == 8
    assert task.transfer.head_options["anchor_ratios"] == (1.5,)


@pytest.mark.parametrize("count", [80, 333, 4_000, 95_000, 10_000_000])
def test_five_sizes_are_spread_evenly_in_their_logarithm(count):
    sizes = defaults.sizes_for(count)
    assert sizes[0] == 0 and sizes[-1] == count and len(sizes) == 6
    steps = np.diff(np.log(sizes[1:]))
    assert (steps > 0).all() and steps.max() < 1.5 * steps.min()


def test_the_status_of_a_study_does_not_count_an_error_rate_as_a_failure(
    folders, monkeypatch
):
    (folders / "study.toml").write_text(SHORT)
    rows = [{"task": "trees", "num_examples": 32, "error": 0.25}]
    monkeypatch.setattr(budget.Study, "run", lambda *_, **__: rows)
    monkeypatch.setattr(cli.jft.scaling, "table", lambda rows: "")
    monkeypatch.setattr(cli.jft.scaling, "report", lambda *_, **__: ("", ""))
    command = ["study", str(folders / "study.toml"), "--no-search-rates"]
    assert cli.main(command) == 0
    rows[0]["error"] = "MemoryError: no room"
    assert cli.main(command) == 1


@pytest.mark.slow
def test_a_study_ends_in_a_page_and_goes_on_where_it_was(
    folders, capsys, monkeypatch
):
    monkeypatch.chdir(folders)
    text = SHORT.replace('"photos"', '"photos"\nepochs = 1').replace(
        '"task"', '"task"\nepochs = 1\nmodes = ["frozen"]'
    )
    (folders / "study.toml").write_text(
        f"sizes = [0, 32, 64]\nseeds = [0]\n{text}"
    )
    assert cli.main(["study", "study.toml", "--dry-run"]) == 0
    assert "3 runs left" in capsys.readouterr().out
    assert cli.main(["study", "study.toml", "--no-search-rates"]) == 0
    assert (folders / "study" / "report.html").exists()
    assert not list((folders / "study").rglob("*.unfinished"))
    copied = (folders / "study" / "study_as_run.toml").read_text()
    assert copied.startswith("# time: ") and copied.endswith(text)
    assert "# version_keras: 3." in copied
    capsys.readouterr()
    assert cli.main(["study", "study.toml", "--dry-run"]) == 0
    assert "0 runs left" in capsys.readouterr().out
