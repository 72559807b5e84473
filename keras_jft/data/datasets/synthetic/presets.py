"""How hard the synthetic world is to see, by name."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """What stands between an object and its name.

    Lengths are fractions of the image's shorter side, intensities fractions
    of full scale, rates probabilities.

    Attributes:
        sizes: Smallest and largest diameter of an object that is alone.
        rotation: Largest rotation either way, in turns.
        aspect: Largest stretch of an object along its own axes; 0.1 is 10%.
        hue_jitter: Largest change of hue, in turns of the color circle.
        clutter: Contrast of the background.
        distractors: Most things without a name behind the objects, each there
            half of the time.
        occlusion: How often a thing without a name stands in front of the
            first object.
        shading: How much of the light may change across the image.
        noise: Standard deviation of the noise of every pixel.
    """

    sizes: tuple[float, float]
    rotation: float
    aspect: float
    hue_jitter: float
    clutter: float
    distractors: int
    occlusion: float
    shading: float
    noise: float


PRESETS = {
    "easy": Preset(
        sizes=(0.45, 0.7),
        rotation=0.04,
        aspect=0.05,
        hue_jitter=0.005,
        clutter=0.1,
        distractors=0,
        occlusion=0.0,
        shading=0.1,
        noise=0.01,
    ),
    "standard": Preset(
        sizes=(0.35, 0.65),
        rotation=0.08,
        aspect=0.12,
        hue_jitter=0.015,
        clutter=0.3,
        distractors=2,
        occlusion=0.25,
        shading=0.25,
        noise=0.03,
    ),
    "hard": Preset(
        sizes=(0.25, 0.55),
        rotation=0.5,
        aspect=0.25,
        hue_jitter=0.03,
        clutter=0.6,
        distractors=4,
        occlusion=0.5,
        shading=0.4,
        noise=0.06,
    ),
}
