# SPDX-License-Identifier: Apache-2.0
"""VHD and VHDX: structures and strict inspection, standard library only.

``structures`` has what both formats share, ``vhdformat`` and ``vhdxformat``
parse and pack the two formats without doing I/O, ``inspect`` decides whether
a file from a stranger is sound.
"""
