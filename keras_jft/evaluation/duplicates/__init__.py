"""Near-duplicates between pre-training and evaluation images.

Embed both sides, find the most similar reference (pre-training image) of each
query (evaluation image), calibrate the threshold on copies, look at pairs near
it, and score without the duplicates (`jft.evaluation.run(...,
duplicates=ids)`).

References:
    Sun et al. 2017, section 4.3 and Appendix A (Tables 8 to 10).
"""

from keras_jft.evaluation.duplicates.calibration import (
    Calibration,
    calibrate,
    counts,
    same_class_pairs,
)
from keras_jft.evaluation.duplicates.copies import EDITS, Copies, edit
from keras_jft.evaluation.duplicates.embedding import (
    Embeddings,
    embed,
    thumbnails,
)
from keras_jft.evaluation.duplicates.faiss_index import index_name
from keras_jft.evaluation.duplicates.gallery import gallery, near
from keras_jft.evaluation.duplicates.grouping import groups
from keras_jft.evaluation.duplicates.page import (
    THRESHOLD,
    confirmed,
    report,
    write_page,
)
from keras_jft.evaluation.duplicates.parallel import (
    find_in_shard,
    find_parallel,
    find_with_beam,
)
from keras_jft.evaluation.duplicates.pixels import (
    correlation,
    hash_distance,
    perceptual_hash,
)
from keras_jft.evaluation.duplicates.search import Duplicates, find, merge

__all__ = [
    "EDITS",
    "THRESHOLD",
    "Calibration",
    "Copies",
    "Duplicates",
    "Embeddings",
    "calibrate",
    "confirmed",
    "correlation",
    "counts",
    "edit",
    "embed",
    "find",
    "find_in_shard",
    "find_parallel",
    "find_with_beam",
    "gallery",
    "groups",
    "hash_distance",
    "index_name",
    "merge",
    "near",
    "perceptual_hash",
    "report",
    "same_class_pairs",
    "thumbnails",
    "write_page",
]
