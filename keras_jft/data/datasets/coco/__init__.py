"""COCO: boxes, people and the files that both are read from."""
