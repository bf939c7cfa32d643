"""`compat-auth serve --front`: a front proxy that starts and ends with the gateway.

Imports: `proxy_config`, and what `cli` may import.
"""
