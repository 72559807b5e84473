"""A CSV file of scores, whoever made it: read, or answered clearly."""

import pytest

from keras_jft import scaling

HEADER = "num_examples,score,seed,task,mode\n"
LINE = "300,0.30,0,birds,frozen\n1000,0.36,0,birds,frozen\n"
MORE = "3000,0.41,0,birds,frozen\n10000,0.48,0,birds,frozen\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "scores.csv"
        path.write_text(text, encoding="utf-8")
        return scaling.read_rows(path)

    return read


def test_cells_become_numbers_text_or_none(read):
    text = '\ufeffnum_examples, score,mode,seed\r\n300,.25,"a, b",\r\n\r\n'
    assert read(text) == [
        {"num_examples": 300, "score": 0.25, "mode": "a, b", "seed": None}
    ]


def test_names_of_curves_are_text_even_if_they_are_numbers(read):
    rows = read("num_examples,mode\n300,50\n300,101 wide\n")
    assert [row["mode"] for row in rows] == ["50", "101 wide"]


def test_a_file_of_runs_is_forecast(read):
    (sheet,) = scaling.forecasts(read(HEADER + LINE + MORE)).values()
    assert sheet.gain == pytest.approx(0.12, abs=0.03)
    assert "One run per size" in str(sheet)


def test_a_curve_that_falls_is_forecast_and_said(read):
    rows = read(HEADER + LINE + MORE + "30000,0.42,0,birds,frozen\n")
    (sheet,) = scaling.forecasts(rows).values()
    assert "does not rise with every size" in str(sheet)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_index_that_pandas_writes_is_left_out(read, name):
    text = f"{name},num_examples,score\n0,300,0.3\n7,1000,0.4\n12,3000,0.5\n"
    rows = [{"num_examples": n, "score": s} for n, s in
            ((300, 0.3), (1000, 0.4), (3000, 0.5))]  # fmt: skip
    assert read(text) == rows
    with pytest.warns(UserWarning, match="cut off"):
        assert read(f"{text}1") == rows
    # By its index alone a line is no other run.
    with pytest.raises(ValueError, match="lines 2 and 5: the same run twice"):
        read(f"{text}13,300,0.3\n")


def test_a_column_without_a_name_that_is_no_index_is_refused(read):
    for cells in ("a,b", "0.5,0.7"):
        first, second = cells.split(",")
        text = f",num_examples,score\n{first},300,0.3\n{second},1000,0.4\n"
        with pytest.raises(ValueError, match="names of the columns"):
            read(text)


def test_the_index_of_two_frames_in_one_is_left_out(read):
    """As `pandas.concat` writes it: each begins at 0."""
    rows = read(",images,score\n0,300,0.3\n1,1000,0.4\n0,3000,0.5\n")
    assert [row["images"] for row in rows] == [300, 1_000, 3_000]
    assert all(len(row) == 2 for row in rows)


@pytest.mark.parametrize("index", ["300,1000,3000", "300.0,300.0,1000.0"])
def test_sizes_in_the_index_that_pandas_writes_are_sizes(read, index):
    sizes = index.split(",")
    lines = [f"{n},0.{i},{i}\n" for i, n in enumerate(sizes, 3)]
    rows = read(",score,seed\n" + "".join(lines))
    assert [row["num_examples"] for row in rows] == [*map(float, sizes)]
    assert [row["score"] for row in rows] == [0.3, 0.4, 0.5]
    # Where another column may hold the sizes, numbers are those of lines.
    rows = read(",images,score\n2,300,0.3\n5,1000,0.4\n9,3000,0.5\n")
    assert set(rows[0]) == {"images", "score"}
    # And where there are lines 1, 2, 3.
    rows = read(",score,seed\n1,0.3,0\n2,0.4,1\n3,0.5,2\n")
    assert set(rows[0]) == {"score", "seed"}


def test_lines_of_commas_alone_are_blank(read):
    assert len(read(f"{HEADER}{LINE},,,,\n\n,,,,\n")) == 2


def test_two_sizes_are_fitted_and_answered_with_what_is_lacking(read):
    rows = read(HEADER + LINE)
    assert scaling.forecasts(rows) == {
        ("birds", "frozen"): "2 sizes, a forecast needs 4"
    }
    law = scaling.fit(rows, x="num_examples", y="score")
    assert sum(c.probability for c in law.candidates.values()) == pytest.approx(
        1
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"scores\.csv, line 1: expected the names of the columns"),
        (
            "num_examples,,score\n1,2,3\n",
            r"line 1: .* Received: 'num_examples,,sc",
        ),
        ("score,score\n1,2\n", "line 1: .* each once"),
        (HEADER + "300,0.3\n" + LINE, "line 2: expected 5 cells.*Received 2"),
        (HEADER + "300,0,3,0,birds,frozen\n", "line 2: .*Received 6: 300,0,3"),
        (HEADER + LINE + LINE, "lines 2 and 4: the same run twice: 300,0.30"),
        (
            HEADER + LINE + LINE.replace("300,0.30", "3e2,.3"),
            "2 and 4: the same",
        ),
        ("a;b,c\n1;2,5\n", "line 1: it is unclear whether , or ; separates"),
        (
            HEADER + LINE + '3000,"0.3,0,birds,frozen\n',
            "line 4: unexpected end",
        ),
        ('a,b\n1,"' + 200_000 * "x" + '"\n', "line 2: field larger than"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_line(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "There are no rows"),
        (
            HEADER + LINE + MORE + "30000,nan,0,birds,frozen\n",
            "`score` must be a finite number .* Received: no value in 1",
        ),
        (
            HEADER + LINE + MORE + "30000,,0,birds,frozen\n",
            "`score` must be a finite number",
        ),
        (
            HEADER + LINE + MORE + "30000,0.5x,0,birds,frozen\n",
            "`score` must be a finite number in every row. Received: '0.5x'",
        ),
        (
            HEADER + LINE + MORE + "300,0.31,0,birds,frozen\n",
            "Received several of num_examples=300, seed=0",
        ),
        (
            HEADER + LINE + MORE + "30000,0.5,0,,frozen\n",
            "`task` must say which curve a row belongs to. Received: no value "
            "in 1 of 5",
        ),
    ],
)
def test_runs_that_are_no_curve_are_refused(read, text, message):
    with pytest.raises(ValueError, match=message):
        scaling.forecasts(read(text))


@pytest.mark.parametrize("column", ["split", "metric"])
def test_scores_of_several_splits_or_metrics_are_not_mixed(read, column):
    lines = (HEADER + LINE + MORE).splitlines()
    names = [column, *["minival*"] * 2, *["test-dev"] * 2]
    pairs = zip(lines, names, strict=True)
    rows = read("\n".join(f"{line},{name}" for line, name in pairs) + "\n")
    with pytest.raises(
        ValueError, match=rf"same `{column}`.*'minival\*', 'test-dev'.*by="
    ):
        scaling.forecasts(rows)
    apart = scaling.forecasts(rows, by=["task", "mode", column])
    assert set(apart.values()) == {"2 sizes, a forecast needs 4"}


def test_scores_out_of_the_range_of_the_metric_are_refused(read):
    rows = read(HEADER + LINE + MORE)
    with pytest.raises(ValueError, match=r"within the bounds \(0.0, 0.4\)"):
        scaling.forecasts(rows, bounds=(0, 0.4))
    rows = read(HEADER + LINE + MORE + "30000,-0.1,0,birds,frozen\n")
    with pytest.raises(ValueError, match="within the bounds.*from -0.1"):
        scaling.forecasts(rows)


def test_fractions_and_percent_are_not_mixed(read):
    rows = read(HEADER + LINE + MORE + "30000,53,0,birds,frozen\n")
    with pytest.raises(
        ValueError, match="looks like both: 0.48 and 53.*`bounds="
    ):
        scaling.forecasts(rows)
    # Few percent are percent.
    few = [{**r, "score": 10 * r["score"] - 2.5} for r in rows[:-1]]
    (sheet,) = scaling.forecasts(few).values()
    assert sheet.law.bounds == (0, 100)


def test_a_last_line_that_was_cut_off_is_dropped_or_doubted(read):
    whole = HEADER + LINE + MORE
    for cut in range(1, len("10000,0.48,0,birds,frozen")):
        text = whole[: -1 - cut]
        with pytest.warns(UserWarning, match=r"scores\.csv.*line, 5"):
            rows = read(text)
        # Without all its commas it is dropped, else the reader may decide.
        assert len(rows) == (4 if text.count(",") == 20 else 3)
    assert rows[-1]["score"] == 0.41


def test_a_csv_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        scaling.read_rows(tmp_path / "none.csv")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_text_that_is_not_utf_8_is_refused(tmp_path, encoding):
    path = tmp_path / "scores.csv"
    mode = "mod\N{LATIN SMALL LETTER E WITH ACUTE}"
    text = f"num_examples,score,mode\n300,0.3,{mode}\n"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=r"line \d: expected text in UTF-8"):
        scaling.read_rows(path)


def test_a_number_in_error_is_no_failure(read):
    rows = read("num_examples,score,error\n300,0.3,0.01\n1000,0.4,0.02\n")
    assert scaling.forecasts(rows) == {(): "2 sizes, a forecast needs 4"}


@pytest.mark.parametrize(
    ("scores", "message"),
    [(("20 p", "30 p"), "finite number"), (("-5", "200"), "within the bounds")],
)
def test_few_sizes_are_checked_like_many(read, scores, message):
    rows = read("num_examples,score\n300,{}\n1000,{}\n".format(*scores))
    with pytest.raises(ValueError, match=message):
        scaling.forecasts(rows)
    with pytest.raises(ValueError, match="no column"):
        scaling.forecasts(rows, y="accuracy")


@pytest.mark.parametrize("size", ["1.000", "10.000", "1.000.000"])
def test_a_size_that_may_be_a_thousand_or_one_is_refused(read, size):
    whole = size.replace(".", "")
    with pytest.raises(ValueError, match=f"line 3: is {size} .*Write {whole}"):
        read(f"num_examples,score\n300,0.125\n{size},0.250\n")


@pytest.mark.parametrize("beside", ["300", "3.000"])
def test_sizes_of_any_name_may_have_thousands_separators(read, beside):
    with pytest.raises(ValueError, match="is 1.000 .* the column images"):
        read(f"images,top1\n1.000,41.325\n{beside},45.250\n10.000,51.125\n")
    # Scores with three decimals are no sizes, nor is what is always the same.
    rows = read("images,top1,rate\n300,41.325,1.000\n1000,45.250,1.000\n")
    assert [row["top1"] for row in rows] == [41.325, 45.25]
    assert rows[0]["rate"] == 1


def test_columns_that_nothing_uses_may_have_three_decimals(read):
    """As `to_csv(float_format="%.3f")` writes them."""
    lines = [f"{300 * 3**i},0.{i + 3}00,{10 * (i + 1)}.000" for i in range(4)]
    rows = read("\n".join(["num_examples,score,epochs", *lines, ""]))
    assert [row["epochs"] for row in rows] == [10, 20, 30, 40]
    (sheet,) = scaling.forecasts(rows).values()
    assert sheet.law.evidence.sizes.tolist() == [300, 900, 2_700, 8_100]


def test_sizes_and_scores_are_two_columns(read):
    rows = read(HEADER + LINE + MORE)
    with pytest.raises(ValueError, match="must be two columns"):
        scaling.forecasts(rows, y="num_examples")


def test_rows_without_a_score_are_counted_and_numbered(read):
    rows = read("num_examples,score\n300,0.3\n1000,\n3000,0.4\n9000,\n")
    assert rows[1]["score"] is None
    with pytest.raises(
        ValueError,
        match=r"no value in 2 of 4 rows, line 3 of .*csv, line 5 of .*csv\. Fi",
    ):
        scaling.forecasts(rows)
    rows = [{**row} for row in rows]  # As if no file had been read.
    with pytest.raises(
        ValueError, match=r"no value in 2 of 4 rows, number 2, 4 of those given"
    ):
        scaling.forecasts(rows)
    rows[1]["score"] = rows[3]["score"] = "n/a"
    with pytest.raises(ValueError, match=r"'n/a' in 2 of 4 rows, number 2, 4"):
        scaling.fit(rows, x="num_examples", y="score")


def test_sizes_with_decimals_are_what_they_are(read):
    rows = read("num_examples,score\n1000.0,3.250\n10000.000,2.125\n")
    assert [row["num_examples"] for row in rows] == [1_000, 10_000]
    rows = read("num_examples,score\n300.000,3.250\n1000.000,2.125\n")
    assert [row["num_examples"] for row in rows] == [300, 1_000]
    assert [row["score"] for row in rows] == [3.25, 2.125]


def test_a_file_without_the_names_of_its_columns_is_refused(read):
    with pytest.raises(ValueError, match="line 1: .*names.*Received numbers"):
        read("300,0.31\n1000,0.36\n")


def test_sizes_side_by_side_are_to_be_turned(read):
    rows = read("model,300,1000,3000,10k\nresnet,0.1,0.2,0.3,0.4\n")
    with pytest.raises(ValueError, match="no column .'num_ex.*Each line must"):
        scaling.forecasts(rows)


@pytest.mark.parametrize("column", ["epoch", "step"])
@pytest.mark.parametrize("seed", ["", ",seed"])
def test_the_epochs_of_a_run_are_not_taken_for_runs(read, column, seed):
    lines = [
        f"{n},{epoch},0.{n}{epoch}{',0' if seed else ''}"
        for n in range(1, 6)
        for epoch in (1, 2)
    ]
    text = "\n".join([f"num_examples,{column},score{seed}", *lines, ""])
    with pytest.raises(
        ValueError, match=f"one row per run.*several values of `{column}`"
    ):
        scaling.forecasts(read(text))
    last = [lines[0].split(",1,")[0] + ",2,0.1" + (",0" if seed else "")]
    rows = read("\n".join([text.split("\n")[0], *last, *lines[3::2], ""]))
    assert len(scaling.forecasts(rows)) == 1


SIZES_AND_SCORES = [(300, 0.31), (1_000, 0.365), (12_000, 0.4)]


@pytest.mark.parametrize(
    "text",
    [
        "num_examples;score\n300;0,31\n1.000;0,365\n12.000;0,4\n",
        "num_examples;score\n300;31 %\n1.000;36,5 %\n12.000;40 %\n",
        "num_examples\tscore\n300\t0.31\n1,000\t0.365\n12,000\t0.4\n",
        'num_examples,score\n300,31%\n"1,000",36.5%\n"12,000",40%\n',
        "sep=;\nnum_examples;score\n300;0,31\n1 000;0,365\n12 000;0,4\n",
        "num_examples;score\n300;0.31\n1\u00a0000;0.365\n12\u202f000;0.4\n",
        "num_examples,score\n300,0.31\n1'000,0.365\n12\u2019000,4e-1\n",
        "num_examples,score,,\n300,0.31,,\n1000,.365,,\n12000,+0.40,,\n",
        ",num_examples;x,score\n0,300,0.31\n1,1000,0.365\n2,12000,0.4\n",
    ],
)
def test_numbers_are_read_as_spreadsheets_write_them(read, text):
    rows = read(text)
    assert [tuple(row.values()) for row in rows] == SIZES_AND_SCORES
    assert len(rows[0]) == 2 and rows[0]["score"] == 0.31


def test_a_minus_sign_of_typography_is_one(read):
    rows = read("num_examples,score\n300,\u22120.5\n1000,-1.5\n")
    assert [row["score"] for row in rows] == [-0.5, -1.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "num_examples;score\n300;0,3\n1000;0.4\n",
            "column score has .* commas: 0,3 in line 2, 0.4 in line 3",
        ),
        ("num_examples,score\n300,30%\n1000,0.4\n", "line 3: 0.4 has no perc"),
        # In this file a point may be of thousands, and a comma decimal.
        ("images;top1\n300;41.325\n1000;45.250\n", "is 41.325 .* 41.3250"),
    ],
)
def test_numbers_of_two_meanings_are_refused(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_only_the_column_of_sizes_may_not_have_three_decimals(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("images,epochs,top1\n300,10.000,41.3\n1000,20.000,45.2\n")
    rows = scaling.read_rows(path, x="images")
    assert [row["epochs"] for row in rows] == [10, 20]
    with pytest.raises(
        ValueError, match="is 10.000 .*does not hold sizes, nam"
    ):
        scaling.read_rows(path)


def test_arms_in_a_column_of_another_name_are_told(read):
    lines = ["num_examples,score,arch,host,notes"]
    for i, size in enumerate((300, 1_000, 3_000, 10_000)):
        lines += [f"{size},0.{3 + i},a,x,n{i}", f"{size},0.{4 + i},b,x,m{i}"]
    rows = read("\n".join([*lines, ""]))
    with pytest.warns(UserWarning, match="differ in `arch`: 'a', 'b'.*several"):
        scaling.forecasts(rows)
    apart = scaling.forecasts(rows, by=["arch"])
    assert set(apart) == {("a",), ("b",)}
    alone = [row for row in rows if row["arch"] == "a"]
    assert len(scaling.forecasts(alone)) == 1
