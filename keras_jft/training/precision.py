"""The dtype policy that is fastest on this machine."""

import contextlib
import os
from collections.abc import Iterator

import keras

from keras_jft import startup

# Values of `ONEDNN_MAX_CPU_ISA` without a product of bfloat16.
WITHOUT_BFLOAT16 = {
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
}


def fastest_dtype_policy() -> str:
    """Return `"mixed_bfloat16"` if the hardware has it, else `"float32"`.

    GPUs and TPUs are assumed to multiply bfloat16. A CPU must have AMX or
    AVX512-BF16, and oneDNN, which uses them, must be neither off nor limited to
    less (`ONEDNN_MAX_CPU_ISA`): otherwise bfloat16 is slow, and if oneDNN is
    limited to AVX2, TensorFlow cannot run it at all.
    """
    if accelerators() or _cpu_multiplies_bfloat16():
        return "mixed_bfloat16"
    return "float32"


def accelerators():
    """Return the names of the GPUs and TPUs that the Keras backend sees."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [
            d.name
            for kind in ("GPU", "TPU")
            for d in tf.config.list_physical_devices(kind)
        ]
    if keras.backend.backend() == "jax":
        import jax

        return [str(d) for d in jax.devices() if d.platform != "cpu"]
    return []


def _cpu_multiplies_bfloat16():
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL") in WITHOUT_BFLOAT16:
        return False
    return not startup.cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})


def check_dtype_policy(name: str) -> None:
    """Raise a ValueError unless a net can be trained under a dtype policy.

    Args:
        name: A Keras dtype policy of floats, or `"fastest"`.
    """
    if name == "fastest":
        return
    try:
        policy = keras.dtype_policies.get(name)
        # Keras also has policies of integers, under which layers cannot train,
        # and of quantized weights, for nets that are already trained.
        floats = keras.backend.is_float_dtype(policy.compute_dtype)
        known = floats and policy.quantization_mode is None
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            '`dtype` must be "fastest" or a dtype policy of Keras for floats, '
            'such as "float32" or "mixed_bfloat16". Received: '
            f"dtype={name!r}."
        )


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set Keras's dtype policy within a block; then restore the former one.

    Args:
        name: A Keras dtype policy, or `"fastest"` for
            `fastest_dtype_policy()`.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(
        fastest_dtype_policy() if name == "fastest" else name
    )
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
