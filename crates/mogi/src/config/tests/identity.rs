//! Tokens, services and SCRAM.

use super::Expected;

pub(super) const EXAMPLES: &[(&str, Expected)] = &[
    ("http_acl_url http://h/a", |c| c.security.http_acl_url.as_deref() == Some("http://h/a")),
    ("http_auth_url http://h/a", |c| c.security.http_auth_url.as_deref() == Some("http://h/a")),
    ("http_cache_entries 77", |c| c.access.web.cache_entries == 77),
    ("http_cache_time 0", |c| c.access.web.cache_ms == 0),
    ("http_cafile x", |c| c.access.cafile.as_deref() == Some("x")),
    ("http_failures 7", |c| c.access.web.failures == 7),
    ("http_header A: b: c", |c| c.access.web.headers == [("A".to_owned(), "b: c".to_owned())]),
    ("http_requests 7", |c| c.access.web.requests == 7),
    ("http_retry_time 7", |c| c.access.web.retry_ms == 7000),
    ("http_timeout 70", |c| c.access.web.timeout_ms == 70),
    ("jwt_acl read a/%{sub}", |c| c.security.jwt.acl == ["read a/%{sub}"]),
    ("jwt_acl_claim x", |c| c.security.jwt.acl_claim.as_deref() == Some("x")),
    ("jwt_algorithms ES256 EdDSA", |c| c.security.jwt.algorithms == ["ES256", "EdDSA"]),
    ("jwt_audience a b", |c| c.security.jwt.audiences == ["a", "b"]),
    ("jwt_clientid_claim x", |c| c.security.jwt.client_id_claim.as_deref() == Some("x")),
    ("jwt_issuer a b", |c| c.security.jwt.issuers == ["a", "b"]),
    ("jwt_jwks_refresh 77", |c| c.access.web.keys_ms == 77_000),
    ("jwt_jwks_url https://h/k", |c| c.security.jwt.jwks_url.as_deref() == Some("https://h/k")),
    ("jwt_key_file x", |c| c.security.jwt.key_file.as_deref() == Some("x")),
    ("jwt_leeway 7", |c| c.access.leeway_s == 7),
    ("jwt_require_expiry false", |c| c.security.jwt.endless),
    ("jwt_secret_file x", |c| c.security.jwt.secret_file.as_deref() == Some("x")),
    ("jwt_username_claim x", |c| c.security.jwt.username_claim.as_deref() == Some("x")),
    ("scram_file x", |c| c.security.scram_file.as_deref() == Some("x")),
];
