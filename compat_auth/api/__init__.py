"""JSON endpoints of our own: personal tokens, who am I, the OpenAPI document and its page.

Imports: `gateway`, `web`, `tokens`, `personal_tokens` and below.
"""
