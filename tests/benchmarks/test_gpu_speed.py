"""speed/gpu.py: what it counts, and the smallest run of an item."""

import jax
import pytest
from jax import lax
from jax import numpy as jnp


@pytest.fixture
def names(run):
    return run("speed/gpu.py", run_name="imported")


def _counted(names, function, *shapes):
    return names["products"](jax.make_jaxpr(function)(*map(jnp.ones, shapes)))


def test_multiply_adds_of_products_and_convolutions_count_twice(names):
    assert _counted(names, jnp.matmul, (3, 4), (4, 5)) == 2 * 3 * 4 * 5
    batched = _counted(names, jnp.matmul, (7, 3, 4), (7, 4, 5))
    assert batched == 7 * 2 * 3 * 4 * 5

    def convolve(groups):
        def run(images, kernel):
            return lax.conv_general_dilated(
                images,
                kernel,
                (2, 2),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups,
            )

        return run

    # 2 images, 4 x 3 places, 5 outputs, each of 3 x 3 x 6 products.
    images = 2, 8, 6, 6
    whole = _counted(names, convolve(1), images, (3, 3, 6, 6))
    assert whole == 2 * (2 * 4 * 3) * 6 * (3 * 3 * 6)
    grouped = _counted(names, convolve(3), images, (3, 3, 2, 6))
    assert grouped == whole / 3


def test_what_is_inside_of_loops_and_functions_counts(names):
    once = 2 * 4**3

    def chain(a):
        a = jax.jit(jnp.matmul)(a, a)  # 1
        a = lax.fori_loop(0, 5, lambda i, b: b @ b, a)  # 5, as a scan
        branches = [lambda b: b, lambda b: b @ b @ b]
        return lax.switch(1, branches, a) + 1  # 2 of the dearer branch

    assert _counted(names, chain, (4, 4)) == (1 + 5 + 2) * once


def test_an_item_that_fails_has_a_row_that_says_so(names, monkeypatch):
    arguments = names["argparse"].Namespace(smoke=True, batch=None)
    script = names["started"].__globals__
    monkeypatch.setitem(script, "__file__", "nowhere.py")
    assert "nowhere.py" in names["started"]("product", arguments, 60)["error"]


@pytest.mark.slow
@pytest.mark.parametrize("item", ["product", "many labels", "faster_rcnn"])
def test_an_item_runs_without_tensorflow_in_small(item, run, capsys):
    run("speed/gpu.py", "--items", item)
    said = capsys.readouterr().out
    assert said.startswith(item) and "teraflops" in said and "error" not in said
