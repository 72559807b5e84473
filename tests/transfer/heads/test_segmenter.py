from keras_jft.transfer.heads.segmenter import rebuilt


def test_only_a_backbone_that_differs_is_rebuilt(tiny_backbone):
    same = rebuilt(tiny_backbone, output_stride=8, bn_mode="batch")
    assert same is tiny_backbone
    other = rebuilt(tiny_backbone, output_stride=2, bn_mode="affine")
    assert other is not tiny_backbone
    assert (other.output_stride, other.bn_mode) == (2, "affine")
