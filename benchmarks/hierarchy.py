"""Do the labels above help? Leaves alone against labels closed upward.

Question: Sun et al. 2017 give every image of JFT-300M the ancestors of its
labels (section 3), and find that more labels are not worth what more images are
(Table 6). Is a backbone better if it learns the 94 ancestors of 190 classes of
Tiny ImageNet in WordNet, too, or do the 190 tell it all that they tell?

Command:

    python benchmarks/hierarchy.py --tiny-imagenet DIR

Rows go to results/hierarchy.jsonl, the figure to
figures/hierarchy_tiny_imagenet.png; `--dry-run` says what is left to do,
`--smoke` does a quick run on made-up images.

Result: none yet; it has run in small only.
"""

import arms


def leaves_alone(pretrain):
    """Give each image its class, and no class above it."""
    options = dict(pretrain.options)
    del options["hierarchy"]
    return arms.change(options=options)(pretrain)


ARMS = {"284 labels": arms.change(), "190 leaves": leaves_alone}


if __name__ == "__main__":
    arms.main(__doc__, "hierarchy", ARMS, only="real")
