"""``python -m trax`` is the ``trax`` command."""

import sys

from trax.command import main

sys.exit(main())
