"""``python -m trax`` is the ``trax`` command."""

import sys

from trax.cli import main

sys.exit(main())
