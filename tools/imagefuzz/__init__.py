# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of the image inspector; see tools/fuzz-images."""
