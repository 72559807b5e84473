"""`python -m keras_jft` is the command `keras-jft`."""

import sys

from keras_jft import cli

sys.exit(cli.main())
