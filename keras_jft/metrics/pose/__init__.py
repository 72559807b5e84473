"""Keypoint similarity, and the average precision that is based on it."""
