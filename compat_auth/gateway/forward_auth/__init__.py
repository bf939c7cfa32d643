"""Forward-auth: pages where a front proxy asks for a decision, who may ask, and the tokens that it gets.

`dialects` reads the original request from each front proxy's headers, `pages` makes the answer about a request, `lane` the
answer about a credential, `access` says who may ask. Warm answers are in `gateway.fast`.

Imports: what `gateway` may import, and its modules.
"""
