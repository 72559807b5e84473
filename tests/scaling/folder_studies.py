"""The text of a study that names only folders."""

SHORT = """
[pretrain]
images = "photos"

[tasks.trees]
images = "task"
"""
