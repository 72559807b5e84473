"""Images that are shrunk when they are read, with all that is drawn on them."""

from keras_jft import checks
from keras_jft.data.dataset import Dataset, Wrapped
from keras_jft.data.transforms.geometric import ResizeShortest


class Shrunk(Wrapped):
    """A data set whose larger images are shrunk, keeping their shape.

    Boxes, masks and keypoints shrink with them, so scores are those of images
    of this size. A study that decodes its images once then needs less memory.

    Args:
        data: A `Dataset`, not of people: `info` has their boxes.
        longest: The longer side of an image, at most, in pixels.

    Raises:
        ValueError: `longest` is not positive, or the data set is of people.

    Example:

    >>> data = keras_jft.data.load("synthetic", num_examples=9, image_size=64)
    >>> Shrunk(data, 48)[0]["images"].shape
    (48, 48, 3)
    """

    def __init__(self, data, longest):
        super().__init__(data)
        if data.info.people is not None:
            raise ValueError(
                "People cannot be shrunk: `longest` is for other data sets. "
                f"Received: longest={longest!r}."
            )
        self.longest = checks.whole("longest", longest, least=1)
        self._resize = ResizeShortest(self.longest, self.longest)

    def change(self, examples):
        """Return examples with smaller images."""
        return [
            self._resize(example)
            if max(example["images"].shape[:2]) > self.longest
            else example
            for example in examples
        ]

    def image_bytes(self, position):
        """Return None: the pixels are not those of the file."""
        return

    def annotations(self, positions):
        """Return annotations; those with boxes are read with their images."""
        found = self.data.annotations(positions[:1])
        if found and found[0].keys() <= {"ids", "labels", "unknown_labels"}:
            return self.data.annotations(positions)
        return Dataset.annotations(self, positions)
