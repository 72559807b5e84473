"""A data set beside JFT-300M, as far as the paper says what that is like.

Sun et al. 2017, https://arxiv.org/abs/1707.02968, section 3. Of 375M labels for
300M images the paper prints 1.26 an image, not 1.25; that stands here as
printed.
"""

JFT300M = {
    "images": "300M",
    "labels": "375M",
    "labels_per_image": "1.26",
    "classes": "18,291",
    "depth": "12",
    "fan_out": "2,876",
    "classes_below_100": "more than 3K",
    "classes_below_20": "approximately 2K",
    "largest_class": "more than 2M (flowers, among those named)",
    "noise": "approximately 20% of the labels are wrong; recall unknown",
}
NAMES = {
    "images": "images",
    "labels": "labels",
    "labels_per_image": "labels an image",
    "classes": "classes",
    "depth": "depth of the hierarchy",
    "fan_out": "most children of a label",
    "classes_below_100": "classes below 100 images",
    "classes_below_20": "classes below 20 images",
    "largest_class": "images of the largest class",
    "noise": "noise",
}


def compare(found):
    """Rows of what, how it is here, and how it is in JFT-300M.

    Labels are the most specific ones of each image: those of JFT-300M were
    counted before the hierarchy filled in the rest.

    Args:
        found: What `Description.to_dict` gives.

    Returns:
        A list of three strings each.
    """
    labels, hierarchy = found["labels"], found["hierarchy"]
    here = dict.fromkeys(JFT300M, "no labels" if labels is None else "")
    here["images"] = f"{found['num_images']:,}"
    here["depth"] = here["fan_out"] = "no hierarchy"
    here["noise"] = "not known from the labels alone"
    if hierarchy is not None:
        here["depth"] = f"{hierarchy['depth']:,}"
        here["fan_out"] = f"{hierarchy['fan_out']:,}"
    if labels is not None:
        classes = found["classes"]
        specific = labels["specific"]
        here["labels"] = f"{specific['total']:,}"
        here["labels_per_image"] = number(specific["mean"])
        here["classes"] = f"{classes['total']:,}"
        for most in (20, 100):
            key = f"below_{most}"
            here[f"classes_{key}"] = share(classes[key], classes["total"])
        here["largest_class"] = f"{classes['largest']:,}"
    return [[NAMES[key], here[key], JFT300M[key]] for key in JFT300M]


def number(value):
    """A number as people write it; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def share(part, whole):
    """A count and its percentage."""
    return f"{part:,} ({part / whole:.0%})" if whole else f"{part:,}"
