"""HTTP as bytes: headers, paths, challenges, problem details, forwarded addresses. No Flask, no I/O.

`paths` makes a request's path canonical, or refuses it. `problem` makes the JSON body of an error (RFC 9457),
`error_responses` the whole answer with its challenges.

`challenges` completes and filters the challenges that each backend makes and `authn.chain` collects. The grammar of
`Authorization` (Basic, Bearer, Negotiate) is in `compat_auth.credentials`.

Imports: `config` and the rest of the vocabulary, `telemetry` and the tools.
"""
