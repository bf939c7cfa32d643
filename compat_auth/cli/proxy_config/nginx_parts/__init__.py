"""Parts of nginx's configuration that only some sites have.

Imports: the modules of `proxy_config` that read a site, and what `cli` may import.
"""
