# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings of the release notes."""

extensions = ['reno.sphinxext']

project = 'compute-hyperv release notes'
copyright = 'the authors of compute-hyperv'
html_theme = 'alabaster'
version = release = ''
master_doc = 'index'
