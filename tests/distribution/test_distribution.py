"""The wheel has all that the package needs, without the checkout."""

import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]


def _python(*words, **options):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
        **options,
    ).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    _python("-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def elsewhere(made, tmp_path_factory):
    """A folder that the wheel is installed in, without what it requires."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (wheel,) = made.glob("*.whl")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _python(*pip, "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def test_the_wheel_has_every_file_of_the_package_and_no_other(made):
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    listed = subprocess.run(
        ["git", "ls-files", "keras_jft"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert names == set(listed.stdout.split())


def test_the_sdist_has_what_a_packager_needs_and_no_half_of_the_tests(made):
    (sdist,) = made.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff"}
    assert wanted <= names
    assert not any(name.startswith("tests") for name in names)


def test_an_installed_package_forecasts_and_trains(elsewhere, tmp_path):
    command = elsewhere / "bin" / "keras-jft"
    script = pathlib.Path(__file__).parent / "one_epoch.py"
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    said = _python(script, command, cwd=tmp_path, env=environment)
    assert str(elsewhere / "keras_jft") in said
    assert "Verdict: " in said and "\nloss " in said
