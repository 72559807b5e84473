"""Mutated model files: they load, or raise a `ValueError` that names them."""

import contextlib
import hashlib
import io
import json
import random
import zipfile

import numpy as np
import pytest

from keras_jft import backbones, training
from keras_jft.training.checkpoints import archive

LIES = (None, True, -1, 10**30, 1e300, float("nan"), "x", [], {}, [[1]] * 3)


@pytest.fixture
def draws():
    return random.Random(0)


@pytest.fixture
def saved(tiny_backbone, tmp_path):
    paths = [
        tmp_path / f"a{kind}" for kind in (".npz", ".weights.h5", ".keras")
    ]
    backbones.save(tiny_backbone, paths[0])
    tiny_backbone.save_weights(paths[1])
    tiny_backbone.save(paths[2])
    return paths


def _mutated(content, draws):
    """A few bytes changed, a part cut out, doubled or put elsewhere."""
    content = bytearray(content)
    # What describes the content lies at the ends of these files.
    reach = draws.choice((2000, len(content)))
    for _ in range(draws.choice((1, 1, 3, 20))):
        place = draws.randrange(min(reach, len(content)))
        place = draws.choice((place, len(content) - 1 - place))
        content[place] = draws.choice((0, 255, 1 << draws.randrange(8)))
    start, end = sorted(draws.choices(range(len(content)), k=2))
    cut = draws.randrange(8)
    if cut == 0:
        del content[end:]
    elif cut == 1:
        del content[start : start + draws.randrange(1, 100)]
    elif cut == 2:
        content[start:start] = content[start : start + 100]
    return bytes(content)


def _signed(content):
    content = content[:-64]
    return content + hashlib.sha256(content).hexdigest().encode()


def _reads_or_names(path, read):
    """Whether `read` reads the file; where not, the error is as promised."""
    try:
        read(path)
    except ValueError as error:
        assert path.name in str(error)
        return False
    return True


def test_mutated_files_are_read_or_refused_by_name(
    saved, tiny_backbone, draws, tmp_path
):
    (tmp_path / "mutated").mkdir()
    refused = 0
    for path in saved:
        content = path.read_bytes()
        for _ in range(60):
            mutated = _mutated(content, draws)
            target = tmp_path / "mutated" / path.name
            if path.suffix == ".npz":
                mutated = _signed(mutated)
            target.write_bytes(mutated)
            refused += not _reads_or_names(
                target, lambda p: training.load_weights(tiny_backbone, p)
            )
            if path.suffix == ".npz":
                _reads_or_names(target, archive.read)
    assert 50 < refused < 180


def _lying(path, arrays, about, draws):
    """Writes a signed archive, one of whose headers may lie."""
    liar = draws.choice([*arrays]) if draws.random() < 0.3 else None
    members = {"description": np.frombuffer(json.dumps(about).encode(), "u1")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.comment = b"0" * 64
        for name, array in {**members, **arrays}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            content = member.getvalue()
            if name == liar:
                header = {
                    "descr": draws.choice(
                        ("<f4", "<c8", "|O", "<U3", "<M8[s]")
                    ),
                    "fortran_order": draws.choice((False, True)),
                    "shape": draws.choice(
                        (array.shape, (-1,), (2**62, 0), (10**30,), ())
                    ),
                }
                member = io.BytesIO()
                np.lib.format.write_array_header_1_0(member, header)
                content = member.getvalue() + array.tobytes()
            file.writestr(f"{name}.npy", content)
    path.write_bytes(_signed(buffer.getvalue()))


def test_signed_archives_that_lie_are_refused_by_name(
    saved, draws, monkeypatch
):
    path = saved[0]
    arrays, about = archive.read(path)
    about = {**about, "dtypes": {}}
    monkeypatch.setattr(  # It would take most of the time.
        backbones.ResNet, "from_config", lambda config: 1 / 0
    )
    with pytest.raises(ZeroDivisionError):  # The lies below come before.
        backbones.load(path)
    refused = 0
    for _ in range(150):
        config, told = dict(about["config"]), dict(about)
        config[draws.choice([*config])] = draws.choice(LIES)
        if draws.random() < 0.3:
            told[draws.choice([*told])] = draws.choice(LIES)
        _lying(path, arrays, {**told, "config": config}, draws)
        with contextlib.suppress(ZeroDivisionError):
            refused += not _reads_or_names(path, backbones.load)
    assert 110 < refused < 150  # Some draws are no lies.
    with pytest.raises(ValueError, match=r"a\.npz"):
        _lying(
            path, arrays, {"dtypes": {"model/conv1_conv/kernel": "O"}}, draws
        )
        backbones.load(path)


def test_members_that_overlap_are_refused_before_they_are_read(tmp_path):
    """A megabyte that a thousand entries name would be a gigabyte."""
    path = tmp_path / "overlap.npz"
    archive.write(path, {"x": np.zeros(250_000, "float32")}, {})
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"0" * 64
        info = file.getinfo("x.npy")
        for number in range(1000):
            again = zipfile.ZipInfo(f"x{number}.npy")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(again, name, getattr(info, name))
            file.filelist.append(again)
        file._didModify = True
    path.write_bytes(_signed(path.read_bytes()))
    with pytest.raises(ValueError, match=r"overlap\.npz.*larger than the file"):
        archive.read(path)
