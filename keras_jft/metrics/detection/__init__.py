"""Average precision of boxes, as COCO and as VOC define it."""
