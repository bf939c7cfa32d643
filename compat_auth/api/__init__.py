"""Our own JSON endpoints: personal tokens, whoami, the OpenAPI document and its page.

Imports: `gateway`, `web`, `tokens`, `personal_tokens` and below.
"""
