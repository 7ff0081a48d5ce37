# SPDX-License-Identifier: Apache-2.0
"""Worker processes: what a VM holds on its host while it has power."""

from __future__ import annotations

import dataclasses
import typing

from . import guest as guests
from .wmi import engine

if typing.TYPE_CHECKING:
    from .host import Host


class Closable(typing.Protocol):
    """An open file or pipe."""

    def close(self) -> None:
        """Give it back; again is harmless."""


@dataclasses.dataclass(slots=True)
class Worker:
    """What a running, paused or starting VM holds on its host."""

    pid: int
    started_s: float                    #: the fabric's monotonic clock
    memory_mib: dict[int, int]          #: NUMA node -> reserved MiB
    files: dict[str, Closable] = dataclasses.field(default_factory=dict)
    pipes: dict[str, Closable] = dataclasses.field(default_factory=dict)
    records: list[engine.Record] = dataclasses.field(default_factory=list)
    guest: guests.Guest | None = None

    def release(self) -> list[Closable]:
        """Close the pipes; hand over the files that are still open."""
        for pipe in self.pipes.values():
            pipe.close()
        files = list(self.files.values())
        self.files.clear()
        self.pipes.clear()
        return files


class Lingering:
    """Files of VMs that are off, for as long as the host keeps them open.

    Hyper-V, or a backup tool, may release files a moment after the VM is
    gone: FieldKnowledge.file_release_delay_s.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._files: dict[str, list[Closable]] = {}

    def take(self, guid: str, files: list[Closable]) -> None:
        """Close *files* of a VM, now or after the delay."""
        delay_s = self._host.quirks.file_release_delay_s
        if delay_s > 0 and files:
            self._files.setdefault(guid, []).extend(files)
            self._host.clock.call_later(delay_s, lambda: self.close(guid))
        else:
            for held in files:
                held.close()

    def close(self, guid: str) -> None:
        """Close what is left of a VM; it may start again."""
        for held in self._files.pop(guid, ()):
            held.close()

    def close_all(self) -> None:
        """The host lost its power."""
        for guid in list(self._files):
            self.close(guid)
