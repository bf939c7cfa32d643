"""Set-ups that are each wrong in one respect, and what `compat-auth check` has to say of them.

In the texts `@NAME@` stands for a place of the test: see `test_wrong_setups.places`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Right in every respect, with nothing to spare.
RIGHT = """
auth_backends = ["basic_auth"]
database_url = "sqlite:///@TMP@/store.db"
[serve]
bind = "127.0.0.1:0"
[basic_auth]
directories = ["htpasswd"]
[htpasswd]
file = "@TMP@/users"
[upstream]
url = "@AIRFLOW@"
profile = "airflow-simple"
roles = { "*" = "VIEWER" }
[token]
strategy = "shared_secret"
secret = "@SECRET@"
"""


@dataclass(frozen=True)
class Setup:
    """One mistake.

    Attributes:
        name: Of the mistake.
        change: A text of RIGHT, and what stands in its place; "" puts it in front.
        where: What `where` contains.
        what: What `what` contains.
        next_step: What `next` contains.
        status: Exit status.
        offline_status: The same on a machine without DNS.
        env: Variables beside the file.
    """

    name: str
    change: tuple[str, str]
    where: str
    what: str
    next_step: str
    status: int = 78
    offline_status: int = 78
    env: dict[str, str] = field(default_factory=dict[str, str])


URL = 'url = "@AIRFLOW@"'
FILE = 'file = "@TMP@/users"'
BACKENDS = 'auth_backends = ["basic_auth"]'
DIRECTORIES = 'directories = ["htpasswd"]'
SIMPLE = 'profile = "airflow-simple"\nroles = { "*" = "VIEWER" }'
STRATEGY = 'strategy = "shared_secret"'
KEY = 'secret = "@SECRET@"'
STORE = 'database_url = "sqlite:///@TMP@/store.db"'
BIND = 'bind = "127.0.0.1:0"'

ADDRESS = (
    Setup("no-address", (URL, ""), "upstream.url", "not set", "such as http://127.0.0.1:8080"),
    Setup("no-scheme", (URL, 'url = "airflow:8080"'), "upstream.url", "has no scheme", "write http://airflow:8080"),
    Setup("other-scheme", (URL, 'url = "ftp://airflow"'), "upstream.url", "scheme 'ftp'", "write http:// or https://"),
    Setup("no-host", (URL, 'url = "http://"'), "upstream.url", "no host", "such as http://127.0.0.1:8080"),
    Setup("no-port", (URL, 'url = "http://a:port"'), "upstream.url", "malformed", "such as http://127.0.0.1:8080"),
    Setup("user-in-it", (URL, 'url = "http://u:hush@a"'), "upstream.url", "a path", "remove user, password"),
    Setup("query-in-it", (URL, 'url = "http://a/?x=hush"'), "upstream.url", "a path", "query"),
    Setup("name-unknown", (URL, 'url = "http://no-such.invalid:8080"'), "upstream.url", "resolved", "DNS", 78, 69),
    Setup(
        "nobody-there", (URL, 'url = "http://127.0.0.1:1"'), "upstream.url", "accept conn", "start it, or correct", 69
    ),
    Setup(
        "silent",
        (URL, 'url = "@SILENT@"\ntimeout_s = 0.3'),
        "upstream.url",
        "no answer to GET /api/v2/version within 0.3 s",
        "HTTP server",
        69,
    ),
    Setup(
        "no-airflow", (URL, 'url = "@HTML@"'), "upstream.url", "is not Airflow 3", "base URL of Airflow's API server"
    ),
    Setup("airflow-2", (URL, 'url = "@AIRFLOW2@"'), "upstream.url", "is Airflow 2.11.2", "set it to an Airflow 3"),
    Setup("api-path", (URL, 'url = "@AIRFLOW@/api/v2/"'), "upstream.url", "/api/v2", "write @AIRFLOW@"),
    Setup("v1-path", (URL, 'url = "@AIRFLOW@/api/v1"'), "upstream.url", "/api/v1", "write @AIRFLOW@"),
    Setup("token-path", (URL, 'url = "@AIRFLOW@/auth/token"'), "upstream.url", "/auth/token", "write @AIRFLOW@"),
    Setup("redirect", (URL, 'url = "@REDIRECT@"'), "upstream.url", "https://elsewhere.example/", "write the address"),
    Setup("gateway", (URL, 'url = "@GATEWAY@"'), "upstream.url", "asks for a login", "Airflow's API server"),
    Setup("broken", (URL, 'url = "@BROKEN@"'), "upstream.url", "answers 502", "look at its log", 69),
    Setup("ourselves", (URL, 'url = "http://127.0.0.1:28394"'), "upstream.url", "serve.bind itself", "another port"),
    Setup("tls-to-plain", (URL, 'url = "@AIRFLOW_S@"'), "upstream.url", "speaks plain HTTP", "write @AIRFLOW@"),
    Setup("plain-to-tls", (URL, 'url = "@TLS_PLAIN@"'), "upstream.url", "speaks TLS", "write @TLS@"),
    Setup("authority", (URL, 'url = "@TLS@"'), "upstream.verify", "certificate", "PEM file of its authority"),
    Setup(
        "other-name",
        (URL, 'url = "@TLS_NAME@"\nverify = "@CA@"'),
        "upstream.verify",
        "mismatch",
        "the certificate's host name",
    ),
    Setup("no-ca-file", (URL, 'url = "@TLS@"\nverify = "/no.pem"'), "[upstream] verify", "no CA file", "a PEM file"),
    Setup("clock-ahead", (URL, 'url = "@SLOW_CLOCK@"'), "upstream.url", "ahead of", "NTP"),
    Setup("clock-behind", (URL, 'url = "@FAST_CLOCK@"'), "upstream.url", "behind", "NTP"),
)

TOKEN = (
    Setup("short", (KEY, 'secret = "short"'), "[token] secret", "5 bytes", "openssl rand"),
    Setup("no-secret", (KEY, ""), "[token] secret", "missing", "jwt_secret"),
    Setup(
        "other", (KEY, f'secret = "{"x" * 70}"'), "token.secret", "rejects the signature", "copy [api_auth] jwt_secret"
    ),
    Setup("audience", (KEY, KEY + '\naudience = "other"'), "token.audience", "'other'", "jwt_audience"),
    Setup("tasks", (KEY, KEY + '\naudience = "urn:airflow.apache.org:task"'), "[token] audience", "tasks", "set it to"),
    Setup("algorithm", (KEY, KEY + '\nalgorithm = "EdDSA"'), "[token] algorithm", "needs strategy", 'set "HS512"'),
    Setup("no-key-file", (STRATEGY, 'strategy = "key_pair"'), "[token] key_file", "missing", "keys create"),
    Setup(
        "key-algorithm",
        (STRATEGY + "\n" + KEY, 'strategy = "key_pair"\nkey_file = "@KEYS@"\nalgorithm = "RS256"'),
        "[token] algorithm",
        "is for EdDSA",
        "leave it empty",
    ),
    Setup(
        "key-unknown",
        (STRATEGY + "\n" + KEY, 'strategy = "key_pair"\nkey_file = "@KEYS@"'),
        "token.key_file",
        "does not know our key",
        "trusted_jwks_url",
        env={"COMPAT_AUTH_SERVE__BIND": "@LIVE@"},
    ),
    Setup(
        "role", (SIMPLE, 'profile = "airflow-simple"\nroles = { a = "Boss" }'), "[upstream] roles", "'Boss'", "ADMIN"
    ),
    Setup("no-role", (SIMPLE, 'profile = "airflow-simple"'), "upstream.roles", "nobody has one", '"VIEWER"'),
    Setup("no-database", (SIMPLE, 'profile = "airflow-fab"'), "token.strategy", "airflow-fab", "set [airflow_db] url"),
    Setup(
        "profile",
        (SIMPLE, 'profile = "airflow-fab"\n[mapping]\nfile = "@MAPPING@"\n[lookup]\ndirectories = ["mapping"]'),
        "upstream.profile",
        "its auth manager is not",
        "set 'airflow-simple'",
    ),
    Setup(
        "no-login",
        (URL + "\n" + SIMPLE + "\n[token]\n" + STRATEGY, 'url = "@NO_LOGIN@"\n[token]\nstrategy = "exchange"'),
        "token.strategy",
        "accepts no passwords",
        "shared_secret",
    ),
    Setup(
        "personal",
        (STRATEGY, 'strategy = "exchange"'),
        "auth_backends",
        "personal_token brings no password",
        "set token.strategy",
        env={"COMPAT_AUTH_AUTH_BACKENDS": "basic_auth,personal_token"},
    ),
    Setup(
        "handler",
        (STRATEGY, 'strategy = "exchange"'),
        "auth_backends",
        "token_handler brings no password",
        "remove it",
        env={
            "COMPAT_AUTH_AUTH_BACKENDS": "basic_auth,token_handler",
            "COMPAT_AUTH_TOKEN_HANDLER__HANDLER": "json:loads",
        },
    ),
)

SOURCES = (
    Setup("htpasswd", (FILE, 'file = "/no/users"'), "htpasswd.file", "does not exist", "users add NAME"),
    Setup("htpasswd-folder", (FILE, 'file = "@TMP@"'), "htpasswd @TMP@", "cannot be read", "read the file"),
    Setup("htpasswd-empty", (FILE, ""), "htpasswd.file", "empty", "name the file"),
    Setup(
        "directory", (DIRECTORIES, 'directories = ["htpaswd"]'), "basic_auth.directories[0]", "no directory", "htpasswd"
    ),
    Setup(
        "directory-twice", (DIRECTORIES, 'directories = ["htpasswd", "htpasswd"]'), "directories[1]", "twice", "delete"
    ),
    Setup(
        "db-file", (FILE, FILE + '\n[airflow_db]\nurl = "sqlite:////no/a.db"'), "airflow_db.url", "not exist", "copy"
    ),
    Setup("db-folder", (FILE, FILE + '\n[airflow_db]\nurl = "sqlite:///@TMP@"'), "airflow_db.url", "a folder", "copy"),
    Setup(
        "db-tables",
        (FILE, FILE + '\n[airflow_db]\nurl = "sqlite:///@TMP@/users"'),
        "airflow_db",
        "cannot be asked",
        "Airflow's own",
        69,
    ),
    Setup(
        "db-away",
        (FILE, FILE + '\n[airflow_db]\nurl = "postgresql://u:hush@127.0.0.1:1/a"'),
        "airflow_db",
        "cannot be asked",
        "check that the database runs",
        69,
    ),
    Setup(
        "db-kind", (FILE, FILE + '\n[airflow_db]\nurl = "oracle://a/b"'), "airflow_db.url", "oracle", "write a URL of"
    ),
    Setup(
        "mapping",
        (FILE, FILE + '\n[mapping]\nfile = "/no.toml"\n[lookup]\ndirectories = ["mapping"]'),
        "/no.toml",
        "cannot be read",
        "create it",
    ),
    Setup(
        "ldap-away",
        (DIRECTORIES, 'directories = ["ldap"]\n[ldap]\nurl = "ldaps://127.0.0.1:1"\nbase = "dc=a"'),
        "ldaps://127.0.0.1:1",
        "refused",
        "check that it runs",
    ),
    Setup("ldap-base", (DIRECTORIES, 'directories = ["ldap"]\n[ldap]\nurl = "ldaps://127.0.0.1"'), "ldap.base", "", ""),
    Setup(
        "pam",
        (DIRECTORIES, 'directories = ["pam"]\n[pam]\nservice = "no-such-service"'),
        "no-such-service",
        "no such file",
        "create it",
    ),
    Setup(
        "keytab",
        ("", '[kerberos]\nkeytab = "/no.keytab"\n'),
        "kerberos.keytab",
        "cannot be read",
        "kadmin",
        env={"COMPAT_AUTH_AUTH_BACKENDS": "basic_auth,kerberos"},
    ),
    Setup(
        "issuer",
        (DIRECTORIES, DIRECTORIES + '\n[[oidc.issuers]]\nissuer = "https://127.0.0.1:1"\naudience = "a"'),
        "127.0.0.1:1",
        "could not be asked",
        "",
        69,
        env={"COMPAT_AUTH_AUTH_BACKENDS": "basic_auth,oidc"},
    ),
    Setup("backend", (BACKENDS, 'auth_backends = ["basic_outh"]'), "auth_backends[0]", "no backend", "'basic_auth'?"),
    Setup(
        "twice", (BACKENDS, 'auth_backends = ["basic_auth", "basic_auth"]'), "auth_backends[1]", "already", "remove one"
    ),
    Setup("comma", (BACKENDS, 'auth_backends = "basic_auth,"'), "auth_backends[1]", "empty name", ""),
    Setup("nothing", (BACKENDS, "auth_backends = []"), "auth_backends", "empty", "name at least one"),
)

PROCESS = (
    Setup(
        "store-folder", (STORE, 'database_url = "sqlite:////no/x.db"'), "database_url", "does not exist", "mkdir -p /no"
    ),
    Setup(
        "store-is-folder", (STORE, 'database_url = "sqlite:///@TMP@"'), "database_url", "a folder", "set it to a file"
    ),
    Setup("store-kind", (STORE, 'database_url = "oracle://a/b"'), "database_url", "oracle", "write"),
    Setup(
        "redis",
        (STORE, STORE + f'\nredis_url = "redis://127.0.0.1:1"\nredis_secret = "{"r" * 40}"'),
        "redis_url",
        "cannot be asked",
        "check that it runs",
        69,
    ),
    Setup("redis-secret", (STORE, STORE + '\nredis_url = "redis://127.0.0.1:1"'), "redis_url", "no secret", "openssl"),
    Setup("bind", (BIND, 'bind = "127.0.0.1"'), "serve.bind", "not HOST:PORT", ""),
    Setup("port-taken", (BIND, 'bind = "@TAKEN@"'), "serve.bind", "in use", "choose another", 69),
    Setup(
        "proxy-in-front",
        (BIND, BIND + '\n[forward_auth]\nbind = "127.0.0.1:9188"'),
        "forward_auth",
        "nobody",
        "name the",
    ),
    Setup(
        "everybody", (STORE, STORE + '\ntrusted_proxies = ["0.0.0.0/0"]'), "trusted_proxies", "every address", "name"
    ),
    Setup(
        "no-network", (STORE, STORE + '\ntrusted_proxies = ["proxy"]'), "trusted_proxies", "not a network", "10.0.0.1"
    ),
    Setup(
        "host-bits",
        (STORE, STORE + '\ntrusted_proxies = ["10.0.0.1/8"]'),
        "trusted_proxies",
        "all of 10.0.0.0/8",
        "write 10.0.0.1/32",
    ),
    Setup(
        "require",
        ("", '[[require]]\npath = "/api/"\nall_of = ["rol:Admin"]\n'),
        "requirement 'rol:Admin'",
        "unknown",
        "role:NAME",
    ),
)

FILES = (
    Setup("section", ("[htpasswd]", "[htpaswd]"), "htpaswd", "no such setting", "'htpasswd'?"),
    Setup("key", (URL, 'urll = "@AIRFLOW@"'), "c.toml: upstream.urll", "no such setting", "'url'?"),
    Setup("elsewhere", (STORE, STORE + '\nkeytab = "/x"'), "keytab", "no such setting", "it belongs in [kerberos]"),
    Setup(
        "top-key",
        (BIND, BIND + '\nmode = "strict"'),
        "serve.mode",
        "no such setting",
        "at the top of the file",
    ),
    Setup("type", (BIND, BIND + '\nworkers = "many"'), "serve.workers", "valid integer", "Processes"),
    Setup("range", (BIND, BIND + "\nworkers = 0"), "serve.workers", "greater than", "Processes"),
    Setup("mode", (STORE, STORE + '\nmode = "strickt"'), "mode", "'strict' or 'airflow2'", "'strict'?"),
    Setup("protect", (URL, URL + '\nprotect = ["api"]'), "upstream.protect.0", "pattern", "Path prefixes"),
    Setup("syntax", (BIND, "bind = 127.0.0.1"), "c.toml", "line 5", "correct that line"),
    Setup(
        "variable",
        ("", ""),
        "serve.workers ($COMPAT_AUTH_SERVE__WORKERS)",
        "valid integer",
        "Processes",
        env={"COMPAT_AUTH_SERVE__WORKERS": "many"},
    ),
    Setup(
        "variable-key",
        ("", ""),
        "serve.worker ($COMPAT_AUTH_SERVE__WORKER)",
        "no such setting",
        "'workers'?",
        env={"COMPAT_AUTH_SERVE__WORKER": "2"},
    ),
    Setup(
        "secret-file",
        ("", ""),
        "COMPAT_AUTH_TOKEN__SECRET_FILE",
        "cannot be read",
        "name a file",
        env={"COMPAT_AUTH_TOKEN__SECRET_FILE": "/no/secret"},
    ),
)

SETUPS = (*ADDRESS, *TOKEN, *SOURCES, *PROCESS, *FILES)
