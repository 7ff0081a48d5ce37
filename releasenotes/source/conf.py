# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings of the release notes."""

extensions = ['openstackdocstheme', 'reno.sphinxext']

project = 'compute-hyperv release notes'
copyright = 'the authors of compute-hyperv'
html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_repo_name = ''
openstackdocs_auto_version = False
version = release = ''
master_doc = 'index'
