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


# "standard" is chosen so that what a small ResNet learns from 300 to 10,000
# images rises with their logarithm, neither at chance nor saturated; "easy"
# is near its ceiling there, and "hard" has room for some decades more.
PRESETS = {
    "easy": Preset(
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
    "standard": Preset(
        sizes=(0.3, 0.6),
        rotation=0.25,
        aspect=0.2,
        hue_jitter=0.03,
        clutter=0.5,
        distractors=3,
        occlusion=0.4,
        shading=0.35,
        noise=0.05,
    ),
    "hard": Preset(
        sizes=(0.2, 0.5),
        rotation=0.5,
        aspect=0.3,
        hue_jitter=0.035,
        clutter=0.8,
        distractors=6,
        occlusion=0.6,
        shading=0.5,
        noise=0.08,
    ),
}
