"""Settings of Airflow that are known to break logins: compared with ours, from an airflow.cfg and the environment.

Airflow reads the environment before the file. A value that comes from a command or a secrets backend is not asked for.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path

from compat_auth.airflow2_config.settings import OldSettings, Option, Written
from compat_auth.cli.doctor.plugin import read_plugin
from compat_auth.cli.doctor.result import Result
from compat_auth.config import Settings
from compat_auth.config.loading import old_settings_of

_ID = "airflow.cfg"
_SECRET: Option = ("api_auth", "jwt_secret")
_JWKS: Option = ("api_auth", "trusted_jwks_url")
_OWN_KEY: Option = ("api_auth", "jwt_private_key_path")
_AUDIENCE: Option = ("api_auth", "jwt_audience")
_ISSUER: Option = ("api_auth", "jwt_issuer")
_DEFAULT_AUDIENCE = "apache-airflow"
_TRUE = frozenset(("true", "t", "1"))


def find_airflow_cfg(settings: Settings | None, named: str | None, environ: Mapping[str, str]) -> str:
    """Return the airflow.cfg of `--airflow-cfg`, of the settings, or of Airflow's own variables; "" if none is known."""
    home = environ.get("AIRFLOW_HOME", "")
    known = (
        named or "",
        settings.airflow_cfg if settings is not None else "",
        environ.get("AIRFLOW_CONFIG", ""),
        f"{home}/airflow.cfg" if home and Path(home, "airflow.cfg").is_file() else "",
    )
    return next(filter(None, known), "")


def examine_airflow(
    settings: Settings | None, airflow_cfg: str, environ: Mapping[str, str], *, is_accepted: bool
) -> Iterator[Result]:
    """Yield the results; the one that nothing was asked where no Airflow is known.

    Args:
        settings: Our settings, or None if they are wrong: then only Airflow's own are compared with each other.
        airflow_cfg: The file, or "".
        environ: The environment.
        is_accepted: The running Airflow accepts our token, which says more about secret and claims than a file does.

    Raises:
        ConfigError: The file cannot be read.
    """
    airflow = old_settings_of(airflow_cfg, environ)
    if not airflow_cfg and not any(name.startswith("AIRFLOW__API_AUTH__") for name in environ):
        yield Result.not_asked(_ID, "no airflow.cfg is known; name it with --airflow-cfg FILE")
        return
    found = [*_trusted_keys(airflow), *_signer_audience(airflow)]
    if read_plugin(airflow_cfg, environ) is not None:
        found += _team_plugin(airflow)
    if not is_accepted:
        found += _own_secret(airflow, settings)
    if settings is not None and settings.upstream.profile != "generic" and not is_accepted:
        found += [*_same_secret(settings, airflow), *_same_claims(settings, airflow)]
    yield from found
    if not any(result.status in ("failure", "warning") for result in found):
        yield Result.okay(_ID, "no setting that is known to break logins", airflow_cfg or "the environment")


def _own_secret(airflow: OldSettings, settings: Settings | None) -> Iterator[Result]:
    if (place := _indirect(airflow, _SECRET)) is not None:
        yield Result.not_asked(_ID, f"{place} fetches the secret from another place")
        return
    if _text(airflow, _SECRET) or _text(airflow, _OWN_KEY):
        return
    workers = _text(airflow, ("api", "workers")) or "1"
    is_alone = workers == "1"
    several = ", and each process" if is_alone else f", and [api] workers = {workers} processes"
    # With exchange, a token that Airflow has forgotten is replaced by another login.
    is_harmless = settings is not None and settings.token.strategy == "exchange" and is_alone
    say = Result.warning if is_harmless else Result.failure
    yield say(
        _ID,
        f"[api_auth] jwt_secret: not set, so that each start{several} of Airflow makes another secret and rejects the "
        "tokens of the others; set it, the same in every process and replica: openssl rand -base64 64",
    )


def _trusted_keys(airflow: OldSettings) -> Iterator[Result]:
    if _text(airflow, _JWKS) and not _text(airflow, _OWN_KEY):
        yield Result.failure(
            _ID,
            "[api_auth] trusted_jwks_url: set without jwt_private_key_path, so that Airflow signs with jwt_secret and "
            "rejects its own tokens: its pages and tasks cannot log in; give Airflow a key, set jwt_private_key_path "
            "and jwt_kid, and put its public key into the JWKS",
        )


def _team_plugin(airflow: OldSettings) -> Iterator[Result]:
    multi_team = _text(airflow, ("core", "multi_team")).lower() in _TRUE
    if multi_team:
        yield Result.warning(
            _ID,
            "[core] multi_team: Airflow skips the middleware of a plugin that belongs to a team, so that the plugin "
            "would protect nothing; install compat_auth for the whole API server, not in the plugins of a team",
        )


def _signer_audience(airflow: OldSettings) -> Iterator[Result]:
    for option in (_AUDIENCE, ("api", "jwt_audience")):
        written = airflow.find(option)
        if written is not None and "," in written.text:
            yield Result.warning(
                _ID,
                f"{written.place}: Airflow takes the whole text with its commas for one audience; write one audience",
            )


def _same_secret(settings: Settings, airflow: OldSettings) -> Iterator[Result]:
    written = airflow.find(_SECRET)
    if settings.token.strategy != "shared_secret" or written is None or not written.text.strip():
        return
    ours = settings.token.secret.get_secret_value().encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(ours, written.text.encode("utf-8", "surrogatepass")):
        yield Result.failure(
            _ID,
            f"token.secret: differs from Airflow's ({written.place}), so that Airflow rejects our tokens; copy it, and "
            "restart what had the other one",
        )


def _same_claims(settings: Settings, airflow: OldSettings) -> Iterator[Result]:
    token = settings.token
    if token.strategy not in ("shared_secret", "key_pair"):
        return
    audience = airflow.find(_AUDIENCE)
    theirs = audience.text.strip() if audience is not None else _DEFAULT_AUDIENCE
    if theirs != token.audience:
        yield Result.failure(
            _ID,
            f"token.audience: {token.audience!r}, and Airflow accepts {theirs!r}{_from(audience)}; set token.audience to "
            "it",
        )
    issuer = airflow.find(_ISSUER)
    issuers = [one.strip() for one in issuer.text.split(",") if one.strip()] if issuer is not None else []
    if issuers and token.issuer not in issuers:
        yield Result.failure(
            _ID,
            f"token.issuer: {token.issuer!r}, and Airflow accepts {', '.join(issuers)}{_from(issuer)}; set token.issuer "
            "to one of them",
        )


def _from(written: Written | None) -> str:
    return f" ({written.place})" if written is not None else ", its default"


def _text(airflow: OldSettings, option: Option) -> str:
    written = airflow.find(option)
    return "" if written is None else written.text.strip()


def _indirect(airflow: OldSettings, option: Option) -> str | None:
    section, key = option
    written = airflow.find((section, f"{key}_cmd"), (section, f"{key}_secret"))
    return None if written is None else written.place
