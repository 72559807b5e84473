"""Keypoint similarity, and the average precision that builds on it."""
