"""For scripts: log in to get the API's token, keep it, renew it, and send it to one server only.

`compat_auth.client.for_requests` and `compat_auth.client.for_httpx` plug it into the two libraries. Neither is needed
to import this package. Public are these two, `credential`, `kerberos` and `origin`; the other modules serve `compat-auth login` and
`curl`.

Imports: `compat_auth.errors`, `crypto` and `concurrency`; none of our other modules, and only `cli` imports it.
"""

from __future__ import annotations

from compat_auth.client.credential import BearerToken, Password

__all__ = ["BearerToken", "Password"]
