"""Laws of performance against data size: formulas, fits, trust in them."""
