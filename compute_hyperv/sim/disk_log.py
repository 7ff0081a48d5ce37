# SPDX-License-Identifier: Apache-2.0
"""Headers and log of a VHDX: metadata pages change together or not at all.

Order of writes: payload, log entry, header that names the log, the pages
in place, header that names no log. A simulator need not survive a power
cut, so nothing is synced; a killed process leaves a file to replay.
"""

import dataclasses

from ..vhd import structures
from ..vhd.structures import Malformed
from ..vhd import vhdxformat
from ..vhd.vhdxformat import Header
from ..vhd.vhdxformat import PAGE_BYTES
from .disk_file import DiskFile

_PAGES_PER_ENTRY = 120          # an entry of less than half the log
_PAGES_HELD = 4 * _PAGES_PER_ENTRY


class Journal:
    """The only writer of a VHDX's metadata."""

    def __init__(self, file: DiskFile) -> None:
        self._file = file
        self._pages: dict[int, bytearray] = {}
        self.header, self._slot = self._newest()
        if self.header.log_guid != structures.ZERO_GUID:
            self._replay()

    def _newest(self) -> tuple[Header, int]:
        found = []
        for slot, offset in enumerate(vhdxformat.HEADER_OFFSETS):
            raw = self._file.read(offset, vhdxformat.HEADER_BYTES)
            header = Header.parse(raw)
            if header is not None and header.version == 1:
                found.append((header.sequence, slot, header))
        if not found:
            raise Malformed('headers', 'No header is valid')
        _, slot, header = max(found)
        return header, slot

    def read(self, offset: int, length: int) -> bytes:
        """Metadata as it will be after the next commit."""
        first, last = offset // PAGE_BYTES, (offset + length - 1) // PAGE_BYTES
        if not any(page in self._pages for page in range(first, last + 1)):
            return self._file.read(offset, length)
        raw = b''.join(self._page(page) for page in range(first, last + 1))
        start = offset - first * PAGE_BYTES
        return raw[start:start + length]

    def _page(self, page: int) -> bytes | bytearray:
        held = self._pages.get(page)
        if held is not None:
            return held
        return self._file.read(page * PAGE_BYTES, PAGE_BYTES)

    def write(self, offset: int, data: bytes) -> None:
        """Change metadata; it is in the file after the next commit."""
        while data:
            page, start = divmod(offset, PAGE_BYTES)
            held = self._pages.setdefault(page, bytearray(self._page(page)))
            count = min(len(data), PAGE_BYTES - start)
            held[start:start + count] = data[:count]
            offset, data = offset + count, data[count:]
        if len(self._pages) > _PAGES_HELD:
            self.commit()

    def identify(self, *, data: bool) -> None:
        """Give the file new write identities, in both headers.

        :param data: the data a user can see changes too (children of this
            file are then refused).
        """
        self.header = dataclasses.replace(
            self.header, file_write_guid=structures.new_guid(),
            data_write_guid=(structures.new_guid() if data
                             else self.header.data_write_guid))
        self._write_headers()

    def _write_headers(self) -> None:
        for _ in vhdxformat.HEADER_OFFSETS:
            self.header = dataclasses.replace(
                self.header, sequence=self.header.sequence + 1)
            self._slot = 1 - self._slot
            self._file.write(vhdxformat.HEADER_OFFSETS[self._slot],
                             self.header.pack())

    def commit(self, *, in_place: bool = True) -> None:
        """Bring the changed pages to the file.

        :param in_place: False ends after the log is written, as a crash
            would: the next writable open replays it.
        """
        changed = sorted(self._pages.items())
        self._pages.clear()
        for at in range(0, len(changed), _PAGES_PER_ENTRY):
            part = [(page * PAGE_BYTES, bytes(data)) for page, data
                    in changed[at:at + _PAGES_PER_ENTRY]]
            guid = structures.new_guid()
            self._file.write(self.header.log_offset, vhdxformat.pack_log_entry(
                part, sequence=1, guid=guid, tail=0,
                file_end=self._file.size_bytes))
            self._set_log(guid)
            if not in_place:
                return
            for offset, page in part:
                self._file.write(offset, page)
            self._set_log(structures.ZERO_GUID)

    def _set_log(self, guid: bytes) -> None:
        self.header = dataclasses.replace(self.header, log_guid=guid)
        self._write_headers()

    def _replay(self) -> None:
        log = self._file.read(self.header.log_offset, self.header.log_bytes)
        entries = vhdxformat.active_log(log, self.header.log_guid)
        if not entries:
            raise Malformed('log', 'The log is named but has no valid entry')
        if not self._file.writable:
            # Seen through the page cache: the file stays as it is.
            for entry in entries:
                for offset, page in entry.pages:
                    self._pages[offset // PAGE_BYTES] = bytearray(page)
                for offset, length in entry.zeros:
                    for at in range(offset, offset + length, PAGE_BYTES):
                        self._pages[at // PAGE_BYTES] = bytearray(PAGE_BYTES)
            return
        for entry in entries:
            for offset, page in entry.pages:
                self._file.write(offset, page)
            for offset, length in entry.zeros:
                self._file.write(offset, bytes(length))
        self._set_log(structures.ZERO_GUID)
