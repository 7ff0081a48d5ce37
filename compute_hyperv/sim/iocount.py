# SPDX-License-Identifier: Apache-2.0
"""How much is read from a disk and written to it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class IoCount:
    """Operations and bytes since the disk was opened."""

    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    written_bytes: int = 0

    def read(self, count: int) -> None:
        """Count one operation of so many bytes."""
        self.reads += 1
        self.read_bytes += count

    def wrote(self, count: int) -> None:
        """Count one operation of so many bytes."""
        self.writes += 1
        self.written_bytes += count
