"""Runs that go on where they were stopped, and weights from other files."""
