import pytest

from keras_jft.evaluation.duplicates import faiss_index


@pytest.mark.parametrize(
    ("num_references", "name"),
    [
        (99_999, "Flat"),
        (100_000, "IVF2529,Flat"),  # 8 sqrt(N)
        (999_999, "IVF7999,Flat"),
        (1_000_000, "IVF65536_HNSW32,Flat"),
        (10_000_000, "IVF262144_HNSW32,Flat"),
        (100_000_000, "IVF1048576_HNSW32,SQ8"),
        (300_000_000, "IVF1048576_HNSW32,SQ8"),
    ],
)
def test_the_index_is_that_of_faiss_s_guidelines(num_references, name):
    assert faiss_index.index_name(num_references) == name
