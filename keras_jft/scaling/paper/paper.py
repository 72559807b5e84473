"""Numbers that Sun et al. 2017 print, and known errors in them.

All of them are printed in the paper's text or tables; none was read off a plot.
Scores are in percent.
"""

import dataclasses
import functools
import importlib.resources
import json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """A place where the paper cannot be right as printed.

    Attributes:
        where: Section, table or figure.
        printed: What is printed there.
        rather: What is most likely meant, and why.
        tables: Numbers of the tables that are affected.
    """

    where: str
    printed: str
    rather: str
    tables: tuple[int, ...] = ()

    def __str__(self):
        return f"{self.where} prints {self.printed}; {self.rather}."


FAULTS = (
    Fault(
        where="Table 5",
        printed="3, 6, 12 and 150 epochs for 100K, 200K, 400K and 5M steps",
        rather="batches of 32 of 1.28M images make it 2.5, 5, 10 and 125, as "
        'section 4.1 has it ("30 epochs" for 1.2M steps): go by the steps',
        tables=(5,),
    ),
    Fault(
        where="Table 11",
        printed="AR < AR@.5 < AR@.75",
        rather="recall cannot rise with the threshold: the columns are in the "
        "order in which COCO's tools print AR for 1, 10 and 100 boxes",
        tables=(11,),
    ),
    Fault(
        where="Table 14",
        printed='columns "AP@.5" that are below AP for some classes',
        rather="that is impossible for AP@.5, and their mean is Table 11's "
        "AP(L): they are AP(L)",
        tables=(14,),
    ),
    Fault(
        where="Table 14",
        printed='a last row "toothbrush"',
        rather="its numbers are Table 11's means: it is the mean of all "
        "classes, and toothbrush is not printed",
        tables=(14,),
    ),
    Fault(
        where="Table 13",
        printed='"ImageNet [26]"',
        rather="Table 7 gives the same numbers for reference [29], G-RMI",
        tables=(7, 13),
    ),
    Fault(
        where="Section 4.1",
        printed='a head of "50 equal sized" parts',
        rather="18,291 is not a multiple of 50: 41 parts of 366 and 9 of 365",
    ),
    Fault(
        where="Section 4.1",
        printed='a head of "over 36M parameters"',
        rather="2048 x 18,291 is 37,459,968",
    ),
    Fault(
        where="Section 5.2",
        printed="minibatches of 64 for the RPN and 256 for the box classifier",
        rather="the default settings that it adopts are 256 and 64",
    ),
    Fault(
        where="Section 5.3",
        printed="atrous rates 6, 12, 8 and 24",
        rather="those of DeepLab-ASPP-L are 6, 12, 18 and 24",
    ),
    Fault(
        where="Appendix B",
        printed='"Figure 5 (left)" for segmentation',
        rather="that is Figure 6 (left)",
    ),
)

# Scores in Figures 4 and 6 that the text prints, fine-tuned from JFT-300M:
# {(task, score): (what was measured, {images: score})}. The score at 30M images
# is Table 6's "18K JFT", which is the same setting by its description.
SCORES = {
    ("classification", "top1"): ("ImageNet", {300_000_000: 79.2}),
    ("detection", "ap"): (
        "COCO minival*",
        {30_000_000: 31.9, 300_000_000: 36.8},
    ),
    ("detection", "ap50"): ("COCO minival*", {300_000_000: 57.1}),
    ("detection", "voc_ap"): ("VOC 2007", {300_000_000: 81.4}),
    ("segmentation", "miou"): ("VOC 2012", {300_000_000: 75.3}),
    ("pose", "ap"): ("COCO test-dev", {300_000_000: 64.8}),
}

# Look of the paper's scores in a figure: unlike that of any mode.
LOOK = {
    "marker": "*",
    "markersize": 9,
    "markerfacecolor": "none",
    "markeredgecolor": "#444444",
    "linestyle": "none",
}

# Figure 5: {layers: points of COCO AP that JFT-300M gains over ImageNet}. The
# number for 101 layers is a difference in Table 9, the others are in section 1.
CAPACITY_GAINS = {50: 1.87, 101: 2.3, 152: 3.0}


@functools.cache
def tables():
    """Return `{number: table}` of Tables 1-14, transposed: a line per quantity.

    A table is a dict with `title`, `task`, `columns` (what the paper compares)
    and `lines`. A line has `name`, `values` and `score`: the column of rows
    with the same quantity, or None for classes and quantities that rows do not
    have. If lines are classes, `classes` is the column of rows with their
    scores.
    """
    file = importlib.resources.files("keras_jft.scaling.paper") / "paper.json"
    loaded = json.loads(file.read_text(encoding="utf-8"))["tables"]
    return {int(number): table for number, table in loaded.items()}
