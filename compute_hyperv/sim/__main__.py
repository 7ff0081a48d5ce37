# SPDX-License-Identifier: Apache-2.0
"""``python -m compute_hyperv.sim`` is ``hyperv-sim``."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
