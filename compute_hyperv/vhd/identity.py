# SPDX-License-Identifier: Apache-2.0
"""The identity by which a differencing VHDX knows its parent.

MS-VHDX 2.2.6.2: a child's ``parent_linkage`` is the DataWriteGuid of the
parent's header. Every program that writes data draws a new one, so that two
conversions of one image are two different parents.
"""

import dataclasses
from typing import IO
import uuid

from compute_hyperv.vhd import structures
from compute_hyperv.vhd import vhdxformat

_NO_LOG = bytes(16)


def stamp(stream: IO[bytes], identity: uuid.UUID) -> None:
    """Give a VHDX that nobody uses an identity.

    The headers are written one after the other, as MS-VHDX 2.2.2.1 wants
    it: at any time one of them is sound.

    :param stream: the file, open for reading and writing.
    :raises Malformed: no sound header, or one with a log to be replayed.
    """
    found = {at: header for at in vhdxformat.HEADER_OFFSETS
             if (header := _read(stream, at)) is not None}
    structures.require(found, 'header', 'no header is sound')
    newest_at = max(found, key=lambda at: found[at].sequence)
    newest = found[newest_at]
    structures.require(newest.log_guid == _NO_LOG, 'log',
                       'it was not closed')
    # The older one first.
    offsets = sorted(vhdxformat.HEADER_OFFSETS, key=newest_at.__eq__)
    for count, at in enumerate(offsets, 1):
        stream.seek(at)
        stream.write(dataclasses.replace(
            newest, sequence=newest.sequence + count,
            data_write_guid=identity.bytes_le).pack())
        stream.flush()


def _read(stream: IO[bytes], at: int) -> vhdxformat.Header | None:
    stream.seek(at)
    return vhdxformat.Header.parse(stream.read(vhdxformat.HEADER_BYTES))
