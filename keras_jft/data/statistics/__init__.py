"""Statistics of a data set, in numbers and pictures."""
