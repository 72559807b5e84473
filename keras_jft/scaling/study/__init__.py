"""Studies: many configs, one row each, nothing done twice."""
