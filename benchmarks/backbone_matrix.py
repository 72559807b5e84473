"""Which heads work on which families of nets?

Question: small nets of each family, with random weights, get each head. Does
the model build, does its loss fall on one batch with the backbone frozen before
conv5, do frozen weights keep every bit, and is the model the same after saving
and loading? The nets and the checks are those of `tests/backbones`, which tries
a part of the table at each change.

Command, for all cells or some of them:

    python benchmarks/backbone_matrix.py
    python benchmarks/backbone_matrix.py --families "KerasHub ViT"
    python benchmarks/backbone_matrix.py --heads YOLOV8 RetinaNet

Result: `results/backbone_matrix.jsonl`, a row per family with a mark per head:
"yes", or why the net cannot have the head. `docs/backbones.md` shows the table.

Cost: 27 minutes on a core of an AMD EPYC that other work shared, on TensorFlow
2.21 and Keras 3.15.1; needs KerasHub and KerasCV.
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "backbone_matrix.jsonl"
FEWEST = (("KerasHub ViT",), ("classification", "FasterRCNN"))


def marks(family, heads):
    """Return `{head: mark}` of a family."""
    import cells

    found = {}
    for head in heads:
        with tempfile.TemporaryDirectory() as directory:
            try:
                cells.check(family, head, pathlib.Path(directory))
                found[head] = "yes"
            except ValueError as error:
                found[head] = f"no: {error}"
            except AssertionError as error:
                found[head] = f"fails: {error}"
        print(f"{family:30} {head:16} {found[head][:150]}", flush=True)
    return found


def table(rows):
    """Return rows as the table of the docs.

    Args:
        rows: `{family: {head: mark}}`.
    """
    heads = list(next(iter(rows.values())))
    lines = [["family", *heads], ["---"] * (1 + len(heads))]
    for family, of_heads in rows.items():
        lines.append([family, *(of_heads[x].split(":")[0] for x in heads)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def read():
    """Return the rows of the results file, `{family: {head: mark}}`."""
    lines = (
        RESULTS.read_text(encoding="utf-8").splitlines()
        if RESULTS.exists()
        else []
    )
    rows = [json.loads(line) for line in lines]
    return {row.pop("family"): row for row in rows}


def main():
    """Check the families that are asked for and write their rows."""
    sys.path.append(str(HERE.parent / "tests" / "backbones"))
    import cells
    import families

    parser = argparse.ArgumentParser()
    parser.add_argument("--families", nargs="+", default=families.FAMILIES)
    parser.add_argument("--heads", nargs="+", default=list(cells.HEADS))
    parser.add_argument("--smoke", action="store_true", help="two cells")
    arguments = parser.parse_args()
    if arguments.smoke:
        chosen, heads = FEWEST
        print(table({family: marks(family, heads) for family in chosen}))
        return
    rows = read()
    for family in arguments.families:
        found = rows.get(family, {}) | marks(family, arguments.heads)
        rows[family] = {x: found[x] for x in cells.HEADS if x in found}
        # In the order of the families, after each: it may be stopped.
        ordered = [x for x in families.FAMILIES if x in rows]
        RESULTS.write_text(
            "".join(
                json.dumps({"family": x, **rows[x]}) + "\n" for x in ordered
            ),
            encoding="utf-8",
        )
    print(table({x: rows[x] for x in ordered}))


if __name__ == "__main__":
    main()
