"""Draws of normal variables that are the same on every CPU.

Eigenvectors have no sign, and those of equal eigenvalues no directions: each
kind of CPU gets its own from LAPACK. Draws must not depend on them.
"""

import numpy as np
from scipy import linalg


def symmetric_root(covariance):
    """Return the symmetric root of a covariance: there is only one.

    Args:
        covariance: `(n, n)`; rounding may have left it with tiny negative
            eigenvalues.
    """
    values, vectors = linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
