"""Many labels per image: the net of pre-training, as a head."""

from keras_jft import checks
from keras_jft.pretrain.classifier import MultiLabelClassifier
from keras_jft.transfer.heads import head


def _check_options(num_classes=None, *, shards, label_prior, **_):
    checks.number("shards", shards, 1, whole=True)
    if label_prior is not None and not hasattr(label_prior, "__len__"):
        checks.number("label_prior", label_prior, 0, 1, above=True)


HEAD = head.Head(
    build=MultiLabelClassifier,
    task="multi_label",
    check_options=_check_options,
)
