# SPDX-License-Identifier: Apache-2.0
"""What the console script nova-compute of Nova's wheel does."""

import sys

from nova.cmd import compute

if __name__ == '__main__':
    sys.exit(compute.main())
