"""Records: TFRecord and ArrayRecord shards, written and read at any place."""
