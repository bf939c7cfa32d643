"""`compat-auth demo`: a gateway, an upstream that accepts only its JWT, and users for one run.

Imports: everything except the other commands.
"""
