"""Mean average precision of many labels per image."""
