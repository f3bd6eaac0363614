"""`python -m audiostride`."""

import sys

from audiostride.cli import main

sys.exit(main())
