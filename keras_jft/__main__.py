"""`python -m keras_jft` is the command `keras-jft`."""

import sys

from keras_jft import cli

if __name__ == "__main__":
    sys.exit(cli.main())
