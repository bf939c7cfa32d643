"""Whose word about the caller is dropped, and what applications say for themselves."""

from __future__ import annotations

import pytest

from compat_auth.http.headers import take_in

HOST = (b"host", b"gateway.example")
WRITTEN_BY_PROXIES = """
x-auth-request-redirect x-auth-foo x-auth-request-uid x-remote-extra-scopes x-goog-iap-x x-amzn-oidc-foo
x-amzn-mtls-clientcert-subject x-ms-client-principal-idp x-ms-token-aad-id-token cf-access-jwt-assertion
cf-access-authenticated-user-email cf-access-client-id x-pomerium-claim-groups x-authentik-name
x-authentik-meta-jwks x-vouch-user x-vouch-idp-claims-email x-userinfo x-token-subject x-token-user-name
x-jwt-payload tailscale-user-login tailscale-user-name remote-foo ssl-client-cert ssl-client-verify x-ssl-cert
x-client-cert-chain client-cert client-cert-chain x-envoy-peer-metadata x-consumer-username x-consumer-custom-id
x-credential-identifier x-credential-username x-anonymous-consumer x-authenticated-scope x-webauth-name
x-trusted-user x-sso-user x-oauth-token x-oidc-claim oidc_claim_sub oidc-claim-email oidc_access_token
x-saml-nameid x-shib-user shib-session-id x-kubernetes-user impersonate-user impersonate-extra-x x-grafana-user
x-forwarded-tls-client-cert x-forwarded-tls-client-cert-info x-forwarded-id-token sm_user sm_userdn smuser
iv-user iv_creds gap-auth x-user-name x-id-token x-access-token x-user-groups x-email-verified mellon_name_id
gss_name teleport-jwt-assertion x-iap-email x-appengine-user-email sec-istio-auth-userinfo x-knox-actor-id
x-client-verify x-arr-clientcert x-kratos-authenticated-identity-id eppn x_auth_foo
"""
OF_APPLICATIONS = """
accept accept-charset accept-encoding accept-language age access-control-request-headers
access-control-request-method cache-control content-type content-language content-disposition content-encoding
content-location content-md5 content-digest date dnt early-data etag expect from if-match if-none-match if-range
if-modified-since keep-alive link max-forwards origin pragma priority prefer range referer sec-fetch-site
sec-fetch-mode sec-ch-ua sec-websocket-key sec-gpc signature signature-input save-data trailer traceparent
tracestate baggage user-agent upgrade-insecure-requests via warning x-correlation-id x-b3-traceid
x-b3-sampled b3 x-airflow-client x-airflow-foo x-requested-with x-csrf-token x-csrftoken x-xsrf-token
idempotency-key x-api-key x-api-version apikey api-key x-amzn-trace-id x-amz-date x-amz-content-sha256
x-amzn-requestid x-cloud-trace-context x-datadog-trace-id uber-trace-id newrelic x-client-version x-client-name
x-client-id x-client-data x-user-agent x-ms-client-request-id x-ms-date x-ms-version x-session-id x-device-id
x-tenant-id x-org-id x-workspace-id x-custom x-a x-prefetch x-timezone x-locale x-total-count x-pagination
x-hub-signature-256 x-github-event x-gitlab-token x-slack-signature stripe-signature x-dag-id x-run-id
x-environment x-team x-trace-id x-span-id x-cache x-forward x-authority x-frame-options airflow-version
x-event-key grpc-timeout dpop cf-ray cf-ipcountry x-vercel-id x-trust x-tokens-per-minute x-subscription-key
ocp-apim-subscription-key x-http2-scheme x-device-user x-users x-rolesx x-emailed x-usergroup-filter x-group-by
x-mailer x-login-hint sm x-certified shibuya case-id mail-id ssl tls x-casino x-actions x-account-locale
x-identify x-logins x-trustedx
"""


@pytest.mark.parametrize("name", WRITTEN_BY_PROXIES.split())
def test_what_a_proxy_says_about_the_caller_does_not_go_on(name: str) -> None:
    header = (name.encode(), b"admin")

    intake = take_in([HOST, header])

    assert (intake.kept, intake.identity) == ([], [header])


@pytest.mark.parametrize("name", ["X_Auth_Foo", "x.auth-foo", "oidc.claim_sub", "SM_USER", "x_forwarded_id_token"])
def test_no_spelling_of_a_family_goes_on(name: str) -> None:
    assert take_in([HOST, (name.lower().encode(), b"admin")]).kept == []


@pytest.mark.parametrize("name", OF_APPLICATIONS.split())
def test_what_applications_send_for_themselves_goes_on(name: str) -> None:
    header = (name.encode(), b"1")

    intake = take_in([HOST, header])

    assert (intake.kept, intake.identity) == ([header], [])


@pytest.mark.parametrize("name", [b"x-request-id", b"x_request_id", b"x.request.id"])
def test_the_id_that_a_request_brings_is_not_forwarded_unchecked(name: bytes) -> None:
    intake = take_in([HOST, (name, b"1")])

    assert (intake.kept, intake.identity, intake.forward) == ([], [], {})


def test_identity_headers_are_kept_aside_in_the_order_of_the_wire() -> None:
    headers = [(b"x-auth-foo", b"1"), (b"remote-user", b"2"), (b"x-auth-foo", b"3")]

    assert take_in([HOST, *headers]).identity == headers


def test_long_names_are_judged_like_short_ones() -> None:
    long = b"x-auth-request-" + b"a" * 1000

    intake = take_in([HOST, (long, b"admin"), (b"x-" + b"a" * 1000, b"1")])

    assert [name[:6] for name, _ in intake.kept] == [b"x-aaaa"]
    assert [name for name, _ in intake.identity] == [long]
