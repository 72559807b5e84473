"""The arithmetic behind `docs/scale.md`, by hand, and what the page shows."""

import pathlib
import runpy

import pytest

from keras_jft.scaling.rows import rows

ROOT = pathlib.Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PAGE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")


@pytest.fixture
def cluster(monkeypatch):
    """The names of `paper_cluster.py`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return runpy.run_path(str(BENCHMARKS / "paper_cluster.py"))


@pytest.fixture
def scaling(run):
    """The names of `speed/scaling.py`."""
    return run("speed/scaling.py", run_name="imported")


def _four(cluster, **options):
    return cluster["Cluster"](
        workers=4,
        servers=2,
        compute=1.0,
        gradient=100.0,
        link=50.0,
        server_link=100.0,
        **options,
    )


def test_the_slowest_part_of_a_cluster_sets_its_pace(cluster):
    plain = _four(cluster)
    # 1 s of computing, 100 bytes each way at 50 a second; a server passes
    # 4 x 100 / 2 bytes each way at 100 a second.
    assert cluster["limits"](plain) == {
        "worker": 5.0,
        "server's link": 2.0,
        "server's cores": 0.0,
    }
    assert cluster["days"](plain, steps=4 * 86_400) == 5.0
    busy = _four(
        cluster, overhead=1.5, largest=2.0, server_seconds=0.1, server_cores=4
    )
    assert cluster["limits"](busy) == pytest.approx(
        {
            "worker": 7.0,
            "server's link": 6.0,
            # 600 bytes in and 600 out, 0.1 s each, on 4 cores.
            "server's cores": 30.0,
        }
    )
    assert cluster["days"](busy, steps=4 * 86_400) == pytest.approx(30.0)


def test_a_ring_of_four_sends_one_and_a_half_times_the_gradients(cluster):
    assert cluster["all_reduce_seconds"](_four(cluster)) == 1 + 150 / 50


def test_variables_in_turn_fill_servers_unevenly(cluster):
    # 3 + 1 and 1 + 1 bytes; the mean is 3.
    assert cluster["largest_server"]([3, 1, 1, 1], 2) == pytest.approx(4 / 3)


@pytest.mark.slow
def test_shards_fill_the_servers_of_the_paper(cluster):
    sizes = cluster["variables"](50)
    largest = cluster["largest_server"](sizes, 17)
    assert round(largest, 2) == cluster["LARGEST"]
    whole = sum(size for size in sizes[-100:])  # All kernels, all biases.
    assert whole == 4 * cluster["HEAD"]
    # Unsplit, the kernel lies on one server, with little else.
    assert 2048 * 18_291 * 17 * 4 / sum(sizes) == pytest.approx(8.0, abs=0.1)


def test_the_papers_numbers_are_those_of_the_paper(cluster):
    # Section 4.1: 2,048 inputs, 18,291 outputs and their biases.
    assert cluster["HEAD"] == 2049 * 18_291
    # Section 4.2: 36M steps of 32 images "or 4 epochs" of 300M.
    seen = cluster["STEPS"] * cluster["BATCH"] / cluster["IMAGES"]
    assert seen == pytest.approx(4, rel=0.05)
    # A K80 that does 20 images of a ResNet-152 does 20 x 11.3 / 7.6 of a
    # ResNet-101 at 224 px.
    seconds = cluster["compute_seconds"](1, layers=101, size=224)
    assert 1 / seconds == pytest.approx(20 * 11.3 / 7.6)


def test_a_link_that_explains_two_months_gives_two_months(cluster):
    paper = cluster["Cluster"](
        workers=50,
        servers=17,
        compute=cluster["compute_seconds"](),
        gradient=4 * cluster["PARAMETERS"],
        link=cluster["implied_link"](),
        server_link=1e12,
    )
    assert cluster["days"](paper) == pytest.approx(cluster["MONTHS"])


def test_a_published_cluster_is_between_its_limits(cluster):
    hidden, took, plain = cluster["published"]()
    # 8 x 240.8 MB / 4 servers at 1.25 GB/s, in and out.
    assert plain - hidden == pytest.approx(2 * 8 * 240.8 / 4 / 1250)
    assert hidden < took < plain


def test_the_page_has_the_clusters_as_they_are_computed(cluster):
    found = cluster["measured"](cluster["read"]())
    assert "\n".join(cluster["table"](found)) in PAGE


def test_the_page_has_the_rows_as_they_were_measured(scaling):
    found = rows.read(BENCHMARKS / "results" / "scaling.jsonl")
    assert "\n".join(scaling["table"](found)) in PAGE


def test_the_fewest_bytes_of_a_step(scaling):
    row = {"gradient_bytes": 1200, "workers": 4, "wire": "float32"}
    fewest = scaling["fewest"]
    assert fewest({**row, "side": "multi_worker"}) == 1800
    half = {**row, "side": "multi_worker", "wire": "bfloat16"}
    assert fewest(half) == 900
    assert fewest({**row, "side": "parameter_server"}) == 2400


def test_a_process_counts_its_own_seconds_and_bytes(scaling):
    before = scaling["counters"]()
    sum(range(3_000_000))
    took = scaling["taken"](before, scaling["counters"]())
    assert took["seconds"] > 0 and took["bytes"] >= 0
    assert took["cpu_worker"] > 0 and took["cpu_ps"] == 0
