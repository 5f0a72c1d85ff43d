//! mogi's options about users that no file knows: tokens, services, SCRAM.

use super::Kind::{Bool, Number, Other, TextOnce};
use super::Scope::{Access, Mogi};
use super::Status::Works;
use super::{BOOL, Range, Spec, range, row};
use crate::config::identity;

const fn between(low: i32, high: i32) -> Range {
    range(low, high).or("Error: '{name}' must be {low} to {high}, and not {value}.")
}

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("http_acl_url", Access, "`http://…` or `https://…`", "–",
        Works(Other(identity::http_acl_url)),
        "who is asked whether a client that `http_auth_url` let in may publish to a topic or \
         subscribe to a filter; see access.md").restart(),
    row("http_auth_url", Access, "`http://…` or `https://…`", "–",
        Works(Other(identity::http_auth_url)),
        "who is asked, by POST, whether a client may come in that no file and no token knows; \
         see access.md").restart(),
    row("http_cache_entries", Mogi, "answers, 10 to 1000000", "10000",
        Works(Number(between(10, 1_000_000), |to, n| {
            to.config.access.web.cache_entries = n as usize;
        })),
        "answers of services that are remembered, logins and topics each").restart(),
    row("http_cache_time", Mogi, "seconds, up to 86400; 0: not at all", "60",
        Works(Number(between(0, 86_400), |to, n| to.config.access.web.cache_ms = n as u64 * 1000)),
        "how long they are; SIGHUP forgets them").restart(),
    row("http_cafile", Mogi, "a file", "those of the system",
        Works(TextOnce(|to| &mut to.config.access.cafile)),
        "PEM certificates of who signs those of services, of `jwt_jwks_url` as well").restart(),
    row("http_failures", Mogi, "requests, up to 1000; 0: it is always asked", "5",
        Works(Number(between(0, 1000), |to, n| to.config.access.web.failures = n as u32)),
        "failures in a row after which a service is not asked for `http_retry_time`").restart(),
    row("http_header", Mogi, "`NAME: VALUE`", "–",
        Works(Other(identity::http_header)),
        "a header of requests to `http_auth_url` and `http_acl_url`; may stand several times")
        .restart(),
    row("http_requests", Mogi, "requests, 1 to 256", "8",
        Works(Number(between(1, 256), |to, n| to.config.access.web.requests = n as u16)),
        "requests to services at once; 4096 more wait").restart(),
    row("http_retry_time", Mogi, "seconds, 1 to 3600", "10",
        Works(Number(between(1, 3600), |to, n| to.config.access.web.retry_ms = n as u64 * 1000)),
        "how long a service that has failed is not asked; clients are refused meanwhile").restart(),
    row("http_timeout", Mogi, "milliseconds, 10 to 60000", "3000",
        Works(Number(between(10, 60_000), |to, n| to.config.access.web.timeout_ms = n as u64)),
        "how long a request to a service may take, with all that belongs to it").restart(),
    row("jwt_acl", Access, "`[read\\|write\\|readwrite\\|deny] FILTER`", "–",
        Works(Other(identity::jwt_acl)),
        "a right of everybody with a token, with `%u`, `%c` and `%{CLAIM}` in it; may stand \
         several times").restart(),
    row("jwt_acl_claim", Access, "the name of a claim", "acl",
        Works(TextOnce(|to| &mut to.security().jwt.acl_claim)),
        "where a token's own rights are").restart(),
    row("jwt_algorithms", Access, "`HS256`, `RS256`, `PS256`, `ES256`, `EdDSA` …",
        "all of the keys",
        Works(Other(identity::jwt_algorithms)),
        "the algorithms tokens may be signed with").restart(),
    row("jwt_audience", Access, "text, several", "–",
        Works(Other(identity::jwt_audience)),
        "one of these a token has to be for (`aud`); without it tokens for anybody in particular \
         are refused").restart(),
    row("jwt_clientid_claim", Access, "the name of a claim", "–",
        Works(TextOnce(|to| &mut to.security().jwt.client_id_claim)),
        "the claim that is the client id: another one is refused").restart(),
    row("jwt_issuer", Access, "text, several", "–",
        Works(Other(identity::jwt_issuer)),
        "one of these has to have issued a token (`iss`)").restart(),
    row("jwt_jwks_refresh", Mogi, "seconds, 10 to 604800", "300",
        Works(Number(between(10, 604_800), |to, n| {
            to.config.access.web.keys_ms = n as u64 * 1000;
        })),
        "how long the keys of `jwt_jwks_url` are used before they are fetched anew").restart(),
    row("jwt_jwks_url", Access, "`http://…` or `https://…`", "–",
        Works(Other(identity::jwt_jwks_url)),
        "where the keys of tokens are published as a JSON Web Key Set").restart(),
    row("jwt_key_file", Access, "a file", "–",
        Works(TextOnce(|to| &mut to.security().jwt.key_file)),
        "public keys of tokens, in PEM or as a JSON Web Key Set"),
    row("jwt_leeway", Mogi, "seconds, up to 3600", "30",
        Works(Number(between(0, 3600), |to, n| to.config.access.leeway_s = n as u64)),
        "by how much clocks may differ from that of who makes tokens").restart(),
    row("jwt_require_expiry", Access, BOOL, "true",
        Works(Bool(|to, yes| to.security().jwt.endless = !yes)),
        "refuse tokens that never end").restart(),
    row("jwt_secret_file", Access, "a file", "–",
        Works(TextOnce(|to| &mut to.security().jwt.secret_file)),
        "the secret of tokens (HS256 to HS512), as it is or behind `base64:`"),
    row("jwt_username_claim", Access, "the name of a claim", "sub",
        Works(TextOnce(|to| &mut to.security().jwt.username_claim)),
        "the claim that is the user name").restart(),
    row("scram_file", Access, "a file", "–",
        Works(TextOnce(|to| &mut to.security().scram_file)),
        "users of SCRAM-SHA-256 (MQTT 5.0, AUTH packets), made with \
         `mogi passwd -H scram-sha-256`"),
];
