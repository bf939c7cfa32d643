"""Identity headers: those with which a proxy says who the caller is. No I/O.

Proxies add headers with each version, so this module knows families of names, not only names. A name is compared in
lower case, with `_` and `.` equal to `-`.

Sources: RFC 9440, and the documentation of these programs and services:

- Proxies and servers: Traefik, Caddy, Envoy, Istio, HAProxy, nginx, Kong, APISIX, and Apache httpd (mod_ssl,
  mod_auth_openidc, mod_auth_mellon, mod_auth_cas, mod_auth_gssapi).
- Login proxies: oauth2-proxy, Authelia, authentik, Pomerium, Vouch, Ory Oathkeeper and Kratos, heimdall, Tailscale,
  Teleport, Knox, Shibboleth.
- Products: SiteMinder, WebSEAL, Oracle Access Manager, F5 APM, Citrix, Akamai EAA, Grafana, Kubernetes.
- Clouds: Google IAP and App Engine, AWS ALB, Azure App Service, Cloudflare Access.
"""

from __future__ import annotations

import re

_NAMES = (
    "remote-user remote-groups remote-email remote-name remote-role "
    "x-remote-user x-remote-group x-remote-groups x-remote-email x-remote-role x-remote-extra "
    "x-user x-user-id x-user-email x-username x-email x-groups x-roles x-auth x-auth-user x-auth-username x-auth-email "
    "x-auth-groups x-auth-roles x-auth-subject x-auth-token x-auth-jwt x-authenticated-user x-authenticated-userid "
    "x-authenticated-groups x-webauth-user x-proxy-user x-iap-jwt x-jwt-assertion x-amzn-oidc-identity "
    "x-amzn-oidc-data x-amzn-oidc-accesstoken x-goog-authenticated-user-email x-goog-authenticated-user-id "
    "x-goog-iap-jwt-assertion x-ms-client-principal x-ms-client-principal-id x-ms-client-principal-name "
    "x-forwarded-user x-forwarded-email x-forwarded-groups x-forwarded-preferred-username x-forwarded-access-token "
    "x-auth-request-user x-auth-request-email x-auth-request-groups x-auth-request-access-token "
    "x-auth-request-preferred-username x-pomerium-jwt-assertion x-pomerium-claim-email x-authentik-username "
    "x-authentik-groups x-authentik-email x-authentik-jwt x-ssl-client-verify x-ssl-client-s-dn ssl-client-verify "
    "ssl-client-s-dn x-client-cert x-client-dn x-forwarded-client-cert"
)
IDENTITY_NAMES = frozenset(_NAMES.encode().split())
"""Names that are known exactly: another spelling of one is refused, not dropped."""

# "*" stands for any end of a name, "?" for an end that begins a new word: "x-user?" matches x-user and x-user-id, not
# x-user2. Headers that applications use for themselves are excluded: x-user-agent, x-client-version,
# x-ms-client-request-id.
_FAMILIES = """
remote-* x-remote* x-proxy-user* x-proxied-user* x-proxy-auth* x-real-user* x-logged-in* x-login?
x-user? x-userid x-username* x-userinfo* x-user-info* x-userdn x-useremail x-usergroups x-userroles x-uid x-sub x-subject?
x-principal? x-account? x-email? x-mail x-group? x-groups? x-role? x-roles? x-claim* x-preferred-username x-given-name
x-family-name x-fullname x-full-name x-display-name x-member-of x-memberof x-entitlement* x-permissions
x-tenant-user* x-identity* x-actor* x-impersonate* x-on-behalf-of* x-act-as* x-run-as* x-effective-user*
auth-user? auth-username auth-email auth-groups auth-roles authenticated-user* x-auth? x-authn? x-authz? x-authorization? x-auth0-* x-forward-user* x-forward-email*
x-token? x-jwt* x-id-token* x-idtoken* x-access-token* x-refresh-token* x-bearer* x-oauth* x-oidc* x-openid* x-saml*
x-sso? x-cas? x-krb* x-kerberos* x-spnego* x-ntlm* x-gss? x-ldap* x-session-data x-session-user* x-trusted? x-webauth*
gap-auth gap-signature x-vouch-* x-authelia-* x-authentik-* x-pomerium-* x-heimdall-* x-oathkeeper-* x-kratos-* x-ory-*
x-dex-* x-keycloak-* x-zitadel-* x-casdoor-* x-okta-* x-duo-* x-ping-* x-onelogin-* x-gatekeeper-*
x-consumer? x-credential? x-credentials? x-anonymous-consumer x-authenticated* x-kong-* x-apisix-* x-tyk-* x-gravitee-*
x-apigee-* x-3scale-* x-wso2-* x-envoy-* x-ext-authz* sec-istio-auth-userinfo x-istio-* l5d-client-id x-spiffe-* x-svid*
x-goog-* x-appengine-* x-iap-* x-amzn-oidc-* x-amzn-mtls-* x-ms-client-principal* x-ms-token-* x-ms-auth-* x-arr-clientcert
x-arr-ssl cf-access-* cf-client-cert-* cf-cert-* cf-connecting-ipv6 cf-pseudo-ipv4 x-nf-account-info x-nf-user* fly-client-ip
fastly-client-ip x-azure-clientip x-azure-socketip tailscale-* teleport-* x-teleport-* x-akamai-eaa* eaa-*
x-forwarded-* x-original-* x-kubernetes-* impersonate-* x-grafana-* x-knox-* x-apm-* x-citrix-* nsc-user*
ssl-* x-ssl* x-tls-* tls-client-* client-cert* x-client-cert* x-client-certificate* x-client-dn* x-client-s-dn*
x-client-verify* x-client-subject* x-client-san* x-client-tls* x-client-ssl* x-client-issuer* x-client-i-dn*
x-client-fingerprint* x-client-user* x-client-identity* x-peer-cert* x-mtls-* x-cert-* x-x509-*
oidc-* mellon-* cas-* gss-* shib-* shib? x-shib* shibboleth-* sm-* smuser sm-user* iv-* oam-* osso-* adfs-* cosign-* pubcookie-*
eppn persistent-id targeted-id affiliation unscoped-affiliation primary-affiliation entitlement
client-ip
"""
_OF_APPLICATIONS = frozenset((b"x-user-agent", b"x-login-hint", b"x-account-locale", b"x-group-by"))
_FOLD = bytes.maketrans(b"_.", b"--")


def _pattern(family: str) -> str:
    if family.endswith("*"):
        return re.escape(family[:-1]) + ".*"
    if family.endswith("?"):
        return re.escape(family[:-1]) + "(?:-.*)?"
    return re.escape(family)


_FAMILY = re.compile(f"(?:{'|'.join(map(_pattern, _FAMILIES.split()))})\\Z".encode(), re.DOTALL)


def identity_families() -> tuple[str, ...]:
    """Return the families of names: an end "*" stands for any end of a name, "?" for none or one that begins a new word."""
    return tuple(_FAMILIES.split())


def names_of_applications() -> tuple[str, ...]:
    """Return the names that belong to no family, although they look so, sorted."""
    return tuple(sorted(name.decode("ascii") for name in _OF_APPLICATIONS))


def tells_identity(name: bytes) -> bool:
    """Return whether a header with that lower-case name is one with which proxies say who the caller is."""
    folded = name.translate(_FOLD)
    return folded in IDENTITY_NAMES or (folded not in _OF_APPLICATIONS and _FAMILY.match(folded) is not None)
