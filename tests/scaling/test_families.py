import numpy as np
import pytest

from keras_jft.scaling import LAWS

R = np.geomspace(1, 1_000, 7)
# One shape of each law, none of whose numbers is 1.
SHAPES = {
    "log_linear": (),
    "power": (0.3,),
    "m4": (0.4, 1.7, 3.0),
    "broken_power": (0.1, 0.6, 30.0, 0.4),
}


def published(name, x, parameters):
    """The formulas as they are printed, for a score."""
    p = parameters
    if name == "log_linear":
        return p["intercept"] + p["slope"] * np.log10(x)
    if name == "power":
        return p["limit"] - p["coefficient"] * x ** -p["exponent"]
    if name == "broken_power":
        bend = 1 + (x / p["break"]) ** (1 / p["sharpness"])
        bend = bend ** (-(p["after"] - p["before"]) * p["sharpness"])
        return p["limit"] - p["coefficient"] * x ** -p["before"] * bend
    raise ValueError(name)


def test_every_law_has_its_shape_here():
    assert set(SHAPES) == set(LAWS)


@pytest.mark.parametrize("name", ["log_linear", "power", "broken_power"])
def test_a_law_is_its_published_formula(name):
    law, a, b, smallest = LAWS[name], 0.8, 0.5, 200.0
    values = law.published(a, b, SHAPES[name], smallest)
    parameters = dict(zip(law.names, values, strict=True))
    np.testing.assert_allclose(
        a + b * law.basis(R, *SHAPES[name]),
        published(name, smallest * R, parameters),
    )


def test_m4_solves_its_published_equation():
    law, a, b, smallest = LAWS["m4"], 0.8, 0.5, 200.0
    values = law.published(a, b, SHAPES["m4"], smallest)
    p = dict(zip(law.names, values, strict=True))
    score = a + b * law.basis(R, *SHAPES["m4"])
    # (e - floor) / (start - e)^alpha = beta x^-exponent of the error, by what
    # there is between start and floor.
    rise = p["limit"] - p["start"]
    left = (p["limit"] - score) / rise
    left = left / ((score - p["start"]) / rise) ** p["alpha"]
    np.testing.assert_allclose(
        left, p["scale"] * (smallest * R) ** -p["exponent"], rtol=1e-6
    )


@pytest.mark.parametrize("name", LAWS)
def test_a_basis_rises_and_ends_at_zero_if_it_saturates(name):
    law = LAWS[name]
    shapes = law.shapes
    values = law.columns(R, shapes)
    assert values.shape == (len(shapes), len(R))
    assert (np.diff(values) >= 0).all()
    last = law.columns(np.array([1e300]), shapes).max()
    assert last == pytest.approx(0, abs=1e-4) if law.saturates else last > 100


@pytest.mark.parametrize("name", LAWS)
def test_shapes_cover_the_ranges(name):
    law = LAWS[name]
    shapes = law.shapes
    if not shapes.shape[1]:
        return
    low, high = np.array(law.ranges).T
    assert ((shapes >= low * 0.999) & (shapes <= high * 1.001)).all()
    # A quarter of all in the lowest quarter of each range.
    logs = np.log(shapes / low) / np.log(high / low)
    np.testing.assert_allclose((logs < 0.25).mean(axis=0), 0.25, atol=0.02)


@pytest.mark.parametrize("name", LAWS)
def test_refining_finds_the_shape_of_points_without_noise(name):
    law, shape = LAWS[name], np.array(SHAPES[name])
    r = np.geomspace(1, 1_000, 12)
    means = 0.8 + 0.5 * law.basis(r, *shape)
    weights = np.linspace(1, 2, len(r))
    found, ab = law.refine(r, means, weights, shape * 1.2)
    np.testing.assert_allclose(
        ab[0] + ab[1] * law.basis(r, *found), means, atol=1e-4
    )
