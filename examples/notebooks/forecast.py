# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # What would ten times more data buy?
#
# You have scores of a model at a few sizes of training data. This notebook fits
# them, forecasts ten times more, and checks the forecast against what came
# later. Nothing is trained, and it takes a few seconds.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import keras_jft as jft

# %% [markdown]
# The accuracies are one of the curves that the package is tested on: a support
# vector machine on small images, three seeds per size. Yours may be any CSV
# with a line per run: `pd.read_csv("scores.csv")`.

# %%
KNOWN = {
    40: (0.074, 0.063, 0.051),
    55: (0.071, 0.069, 0.061),
    75: (0.063, 0.093, 0.073),
    103: (0.09, 0.099, 0.094),
    141: (0.082, 0.111, 0.132),
    194: (0.104, 0.117, 0.115),
    266: (0.129, 0.128, 0.117),
    365: (0.144, 0.156, 0.137),
    500: (0.153, 0.174, 0.141),
}
LATER = {5_000: (0.275, 0.28, 0.284)}


def table(scores):
    """Return a row per run."""
    return pd.DataFrame(
        {"num_examples": size, "seed": seed, "accuracy": score}
        for size, found in scores.items()
        for seed, score in enumerate(found)
    )


known, later = table(KNOWN), table(LATER)
known.groupby("num_examples")["accuracy"].agg(["mean", "std", "count"]).round(3)

# %% [markdown]
# ## The forecast
#
# `worth` is the smallest gain that is worth its cost, in the unit of the
# scores. The verdict is "collect", "do not collect" or "not enough evidence".

# %%
law = jft.scaling.fit(known, x="num_examples", y="accuracy")
sheet = jft.scaling.forecast(law, factor=10, worth=0.02)
print(sheet)

# %% [markdown]
# ## Was it right?
#
# The curve was measured ten times further, at 5,000 images. Those three runs,
# 27.5 to 28.4%, were not shown to the fit; they lie within its interval.

# %%
sizes = np.geomspace(40, 5_000, 30)
low, high = law.prediction_interval(sizes)
figure, axes = plt.subplots(figsize=(6, 3.6))
axes.fill_between(sizes, 100 * low, 100 * high, alpha=0.2)
axes.plot(sizes, 100 * law.predict(sizes), label="forecast, 95% interval")
for name, runs in (("known", known), ("later", later)):
    axes.scatter(runs["num_examples"], 100 * runs["accuracy"], s=12, label=name)
axes.set(xscale="log", xlabel="training images", ylabel="accuracy (%)")
legend = axes.legend(frameon=False)

# %% [markdown]
# ## How many images for a target?

# %%
needed = law.images_for(0.2)
print(f"{needed.value:,.0f} [{needed.low:,.0f}, {needed.high:,.0f}]")

# %% [markdown]
# ## The page to hand on
#
# One HTML file: decision, figures, scores, laws, caveats, and where the rows
# are from.

# %%
page, text = jft.scaling.report(known, "report.html", y="accuracy", worth=0.02)
print(page.name, text.name)
