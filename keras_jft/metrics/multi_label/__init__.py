"""Mean average precision over the labels of images."""
