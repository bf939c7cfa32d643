"""The settings of stages.

Imports: `config.fields`.
"""
