# SPDX-License-Identifier: Apache-2.0
"""Print what a URL gives, with the headers of ``METADATA_HEADERS``."""

from __future__ import annotations

import os
import sys
import urllib.request


def main(argv: list[str]) -> None:
    """Stand for ``curl -s URL`` in a guest."""
    headers = dict(line.split(': ', 1)
                   for line in os.environ['METADATA_HEADERS'].splitlines())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(argv[1], headers=headers)
    with opener.open(request, timeout=60) as answer:
        sys.stdout.write(answer.read().decode())


if __name__ == '__main__':
    main(sys.argv)
