"""Labels of Parquet files are those of the rows as Python objects."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_jft.data.datasets.parquet import RowGroups
from keras_jft.data.datasets.parquet_labels import LabelColumns, LabelIndex
from keras_jft.data.hierarchy import LabelHierarchy

NAMES = ("ant", "bee", "cat", "dog")
BOTH = LabelColumns(labels="labels", probabilities="label_probs")


@pytest.fixture
def save(tmp_path):
    """`save(labels, probabilities)`: row groups of two rows."""

    def write(labels, probabilities=None, kind=None):
        columns = {"labels": pa.array(labels, kind)}
        if probabilities is not None:
            columns["label_probs"] = pa.array(
                probabilities, pa.list_(pa.float32())
            )
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=2)
        return RowGroups([str(path)])

    return write


LABELS = [[3, 1], None, [], [2, 2, 0], [1]]
PROBABILITIES = [[0.5, 0.25], [], None, [1.0, 0.0, 0.125], [0.75]]
EXPECTED = [(0, 3, 0.5), (0, 1, 0.25), (3, 2, 1.0), (3, 2, 0.0),
            (3, 0, 0.125), (4, 1, 0.75)]  # fmt: skip


def _read(groups, columns=BOTH, names=NAMES, hierarchy=None):
    columns = columns.read(groups, LabelIndex(names, hierarchy))
    return list(zip(*map(np.ndarray.tolist, columns), strict=True))


@pytest.mark.parametrize("kind", [pa.int64(), pa.int16(), pa.string()])
@pytest.mark.parametrize("list_of", [pa.list_, pa.large_list])
def test_two_columns_are_read(save, kind, list_of):
    labels = LABELS
    if kind == pa.string():
        labels = [row and [NAMES[i] for i in row] for row in LABELS]
    groups = save(labels, PROBABILITIES, list_of(kind))
    assert _read(groups) == EXPECTED
    alone = LabelColumns(labels="labels", probabilities=None)
    assert _read(groups, alone) == [(r, i, 1.0) for r, i, _ in EXPECTED]


@pytest.mark.parametrize("fields", [("label", "probability"), ("id", "score")])
def test_structs_are_read(save, fields):
    rows = [
        labels
        and [
            dict(zip(fields, pair, strict=True), more="x")
            for pair in zip(labels, p, strict=True)
        ]
        for labels, p in zip(LABELS, PROBABILITIES, strict=True)
    ]
    columns = LabelColumns(
        labels="labels", probabilities="label_probs", fields=fields
    )
    assert _read(save(rows), columns) == EXPECTED
    with pytest.raises(
        ValueError, match=r"a\.parquet'.*\['a', 'b'\].*`fields`"
    ):
        _read(save(rows), LabelColumns(
            labels="labels", probabilities=None, fields=("a", "b")
        ))  # fmt: skip


def test_names_are_those_of_all_row_groups(save):
    groups = save([["dog", "bee"], [], ["ant"], None, ["bee"]])
    alone = LabelColumns(labels="labels", probabilities=None)
    assert alone.label_names(groups) == ["ant", "bee", "dog"]
    with pytest.raises(ValueError, match="type int64. Pass `label_names`"):
        alone.label_names(save([[1]]))


def test_a_hierarchy_knows_keys_names_and_ids():
    tree = LabelHierarchy(["ant", "crane", "crane"], [], ["k0", "k1", "k2"])
    index = LabelIndex(tree.names, tree)
    assert [index.find(x) for x in ("ant", "k2", 1, 2)] == [0, 2, 1, 2]
    # Two are called so.
    assert [index.find(x) for x in ("crane", "bee", 3, -1, None)] == [-1] * 5


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([4], [0.5], "`labels` must have names or ids of the 4.*: 4"),
        ([-1], [0.5], "Received: -1"),
        ([None], [0.5], "Received: None"),
        ([1, 2], [0.5], "one of `label_probs` per label. Received: 1 for 2"),
        ([1], [0.5, 0.5], "Received: 2 for 1"),
        ([1], None, "Received: 0 for 1"),
        (None, [0.5], "Received: 1 for 0"),
        ([1, 2], [0.5, float("nan")], r"must be in 0\.\.1. Received: nan"),
        ([1, 2], [0.5, None], "Received: nan"),
        ([1], [1.5], "Received: 1.5"),
        ([1], [-0.5], "Received: -0.5"),
    ],
)
@pytest.mark.parametrize("row", [0, 3, 4])
def test_a_row_that_cannot_be_right_is_named(
    save, labels, probabilities, message, row
):
    every, probable = list(LABELS), list(PROBABILITIES)
    every[row], probable[row] = labels, probabilities
    with pytest.raises(
        ValueError, match=rf"a\.parquet', row {row}: .*{message}"
    ):
        _read(save(every, probable))


@pytest.mark.parametrize(
    ("labels", "columns", "message"),
    [
        ([["mouse"]], None, "must have a column 'label_probs'"),
        ([[1.0]], BOTH, r"a\.parquet', row 0: .*1\.0, double"),
        ([[], [True]], BOTH, "row 1: .*True, bool"),
        ([[], [], [["a"]]], BOTH, r"row 2: .*\['a'\], list"),
        ([[{"label": {"a": 1}, "probability": 0.5}]], BOTH, "row 0: .*{'a'"),
        ([[{"label": 1, "probability": "0.5"}]], BOTH, "must be numbers.*str"),
        ([[{"label": 1, "probability": 1e99}]], BOTH, "row 0: .*Received: inf"),
        ([3], BOTH, "'labels', must have lists. Received: int64"),
        ([[3]], LabelColumns(labels="tags", probabilities=None),
         r"a column 'tags'.*\['labels'\]. Set `label_column`"),
    ],
)  # fmt: skip
def test_columns_of_another_form_are_refused(save, labels, columns, message):
    probabilities = [row and [0.5] for row in labels] if columns else None
    groups = save(labels, probabilities if columns is BOTH else None)
    with pytest.raises(ValueError, match=message):
        _read(groups, columns or BOTH)


def test_numbers_are_names_where_names_are_numbers():
    assert [LabelIndex(("5", "3")).find(x) for x in (5, 3, "3", 0)] == [
        0, 1, 1, -1,
    ]  # fmt: skip
    # Names that are the ids change nothing.
    assert [LabelIndex(("0", "1")).find(x) for x in (0, 1)] == [0, 1]
    tree = LabelHierarchy(["ant", "bee"], [], ["7", "8"])
    assert [LabelIndex(tree.names, tree).find(x) for x in (8, 0)] == [1, -1]


def test_names_that_are_numbers_are_in_their_order(save):
    alone = LabelColumns(labels="labels", probabilities=None)
    groups = save([["11", "2"], ["0"]])
    assert alone.label_names(groups) == ["0", "2", "11"]
