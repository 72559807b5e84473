"""Layouts of data sets, recognized by looking at their files."""
