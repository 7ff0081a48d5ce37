# SPDX-License-Identifier: Apache-2.0
"""What the first and last bytes of a file say about its format."""

#: As much of a file's beginning as telling formats apart takes.
HEAD_BYTES = 34 * 1024

_ISO_AT = 0x8001
_VDI_AT = 0x40
_AT_START = (
    (b'vhdxfile', 'vhdx'), (b'conectix', 'vhd'), (b'QFI\xfb', 'qcow2'),
    (b'QED\0', 'qed'), (b'KDMV', 'vmdk'), (b'COWD', 'vmdk'),
    (b'# Disk DescriptorFile', 'vmdk-descriptor'), (b'LUKS\xba\xbe', 'luks'),
    (b'Bochs Virtual HD Image', 'bochs'), (b'WithoutFreeSpace', 'parallels'),
    (b'WithouFreSpacExt', 'parallels'),
)


def disk_format(head: bytes) -> str | None:
    """The disk image format that a file begins as; None for plain data.

    :param head: the first HEAD_BYTES of the file.
    """
    for signature, name in _AT_START:
        if head.startswith(signature):
            return name
    if head[_VDI_AT:_VDI_AT + 4] == b'\x7f\x10\xda\xbe':
        return 'vdi'
    return None


def is_iso(head: bytes) -> bool:
    """Whether there is an ISO 9660 volume descriptor."""
    return head[_ISO_AT:_ISO_AT + 5] == b'CD001'


def formats(head: bytes, tail: bytes) -> set[str]:
    """Every format that a file's bytes claim; ``{'raw'}`` if none.

    :param head: the first HEAD_BYTES of the file.
    :param tail: its last 512 bytes: where a fixed VHD has its footer.
    """
    found = set()
    if name := disk_format(head):
        found.add(name)
    if is_iso(head):
        found.add('iso')
    if tail.startswith(b'conectix'):
        found.add('vhd')
    return found or {'raw'}
