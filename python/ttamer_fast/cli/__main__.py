"""`python -m ttamer_fast.cli`: the same as the command `ttamer`."""

import sys

from . import main

sys.exit(main())
