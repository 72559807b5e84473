"""Device-hours of `paper.py`: measured where there are rows, else published.

Published, not measured here: one A100 (80 GB, mixed precision) trains ResNet-50
for 90 epochs of ImageNet in 8.75 hours (NVIDIA, "ResNet-50 v1.5 for MXNet", NGC
catalog, container 22.10), 3,661 images per second. Other nets and sizes follow
from their multiply-adds: 3.8, 7.6 and 11.3 billion for 50, 101 and 152 layers
at 224 px (He et al. 2016, Table 1). An H200 is counted as 2.4 A100, the ratio
of their published memory bandwidths (4.8 and 2.0 TB/s), which bounds such nets.
The published figures are quoted from memory: check them before you plan by
these hours.
Not counted: the small batches of the paper, which keep a GPU waiting (it trains
on 32 images, or one, per worker), evaluation, and reading the images.
"""

import pandas as pd

A100 = 90 * 1_281_167 / (8.75 * 3600) * 3.8  # Billion multiply-adds a second.
H200 = 2.4 * A100
NET = {50: 3.8, 101: 7.6, 152: 11.3}  # At 224 px.
# Shares of a ResNet-101 at 224 px: conv1 to conv3, conv4, conv5.
SHARES = 0.24, 0.66, 0.10


def multiply_adds(run, layers):
    """Return billions of multiply-adds per image of a pre-training, a transfer.

    Training counts a forward pass; what it takes beyond that is in the rate.
    """
    net = NET[layers]
    before = net * (299 / 224) ** 2
    early, conv4, conv5 = (share * net for share in SHARES)
    if run.task == "classification":
        return before, before
    if run.task == "detection":
        pixels = 600 * 1024 / 224**2
        shared = (early + conv4) * pixels
        # Frozen, it only has a forward pass: a third of the work.
        shared /= 3 if run.mode == "frozen" else 1
        return before, shared + 64 * conv5  # Of 64 boxes, at 7 x 7.
    # At stride 8, conv4 and conv5 see 4 and 16 times the positions.
    dense = early + 4 * conv4 + 16 * conv5
    sizes = {"segmentation": 513 * 513, "pose": 353 * 257}
    return before, dense * sizes[run.task] / 224**2


def table(runs):
    """Return a DataFrame with a row per pre-training and per transfer.

    Args:
        runs: Pairs of a `jft.scaling.Run` and the columns of its row.
    """
    lines, done = [], set()
    for run, columns in runs:
        config, layers = run.pretrain, columns["layers"]
        before, after = multiply_adds(run, layers)
        for name, part in _trained(columns["pretraining"], config):
            if repr(part) not in done:
                done.add(repr(part))
                lines.append(_line("pre-training", name, part, before))
        tries = 1 + len(run.search.rates if run.search else ())
        name = f"{columns['benchmark']}, {columns['pretraining']}, {run.mode}"
        lines.append(_line("transfer", name, run.transfer, after, tries))
    found = pd.DataFrame(lines)
    starts = [_is_kept(line, lines) for line in lines]
    found.loc[starts, ["h on A100", "h on H200"]] = 0.0
    return found.drop(columns="config")


def _trained(name, config):
    """Yield the name and config of what a pre-training starts from, and it."""
    if config.initial is not None:
        yield name.split("+")[0], config.initial
    if config.num_examples != 0:
        yield name, config


def _line(stage, name, config, work, tries=1):
    steps = config.steps or 0
    if not steps and config.num_examples:
        steps = config.epochs * config.num_examples // config.batch_size
    seen = tries * steps * config.batch_size
    return {
        "stage": stage,
        "arm": name,
        "images": config.num_examples or "all",
        "steps": steps,
        "seen": seen,
        "h on A100": seen * work / A100 / 3600,
        "h on H200": seen * work / H200 / 3600,
        "config": config,
    }


def _is_kept(line, lines):
    """Return whether a pre-training is kept on the way of a longer one."""
    return line["stage"] == "pre-training" and any(
        other["stage"] == line["stage"]
        and other["arm"] == line["arm"].split(" ")[0]
        and "steps" in line["arm"]
        for other in lines
    )


def told(runs, study, large):
    """Return what is to be done, and what it takes, as text.

    Args:
        runs: As for `table`.
        study: Their `Study`, whose rows give measured hours.
        large: Whether they have the paper's settings, for which hours are
            estimated from published throughput.
    """
    found = table(runs)
    hours = ["h on A100", "h on H200"]
    if not large:
        found = found.drop(columns=hours)
    text = found.to_string(
        index=False,
        formatters={
            **dict.fromkeys(("images", "steps", "seen"), _whole),
            **dict.fromkeys(hours, "{:,.1f}".format),
        },
    )
    lines = [text, "", f"By rows of runs like these: {study.outlook()}."]
    if large:
        sums = found.groupby("stage", sort=False)[hours].sum()
        a100, h200 = sums.sum()
        lines += [
            f"By published throughput (see {__name__}.py): {a100:,.0f} hours "
            f"of one A100, {h200:,.0f} of one H200 ("
            + ", ".join(f"{s} {sums.loc[s, hours[1]]:,.0f}" for s in sums.index)
            + f"), {h200 / 8:,.0f} of eight.",
        ]
    return "\n".join(lines)


def _whole(value):
    return value if isinstance(value, str) else f"{value:,}"
