"""The settings of backends that read a front proxy's header or a client's certificate.

Imports: `config.fields`.
"""
