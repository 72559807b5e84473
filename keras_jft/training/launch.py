"""`python -m keras_jft.training.launch`: the way in to the launcher."""

import sys

from keras_jft.training.distribution.launch import main

if __name__ == "__main__":
    sys.exit(main())
