"""The settings of our own pages.

Imports: `config.fields`.
"""
