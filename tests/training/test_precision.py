import keras
import pytest

from keras_jft import startup, training
from keras_jft.training import precision

pytestmark = pytest.mark.ops


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("flags : fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("flags : fpu amx_bf16 amx_tile", "mixed_bfloat16"),
        ("flags : fpu avx2 avx512f", "float32"),
    ],
)
def test_bfloat16_is_used_where_the_cpu_multiplies_it(
    flags, expected, tmp_path, monkeypatch
):
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(startup, "CPUINFO", str(tmp_path / "cpuinfo"))
    monkeypatch.setattr(precision, "accelerators", list)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert training.fastest_dtype_policy() == expected


@pytest.mark.parametrize(
    "variable, value, expected",
    [
        ("TF_ENABLE_ONEDNN_OPTS", "0", "float32"),
        ("TF_ENABLE_ONEDNN_OPTS", "1", "mixed_bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "mixed_bfloat16"),
    ],
)
def test_bfloat16_is_not_used_where_onednn_may_not(
    variable, value, expected, tmp_path, monkeypatch
):
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16")
    monkeypatch.setattr(startup, "CPUINFO", str(tmp_path / "cpuinfo"))
    monkeypatch.setattr(precision, "accelerators", list)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv(variable, value)
    assert training.fastest_dtype_policy() == expected


def test_without_a_description_of_the_cpu_it_is_float32(monkeypatch):
    monkeypatch.setattr(startup, "CPUINFO", "/nowhere/cpuinfo")
    monkeypatch.setattr(precision, "accelerators", list)
    assert training.fastest_dtype_policy() == "float32"


def test_an_accelerator_is_taken_to_multiply_bfloat16(monkeypatch):
    monkeypatch.setattr(startup, "CPUINFO", "/nowhere/cpuinfo")
    monkeypatch.setattr(precision, "accelerators", lambda: ["GPU:0"])
    assert training.fastest_dtype_policy() == "mixed_bfloat16"


def test_the_former_policy_comes_back_even_after_an_error():
    before = keras.config.dtype_policy()
    with pytest.raises(RuntimeError), training.dtype_policy("mixed_bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
        raise RuntimeError
    assert keras.config.dtype_policy() == before
