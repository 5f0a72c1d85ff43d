//! JSON Web Tokens (RFC 7519): whose they are, what they say, until when.
//!
//! * `keys`: what they are signed with
//! * `claims`: what they say: user name, client id, rights
//!
//! A token is believed when a key that is known has signed it with an algorithm of that key, so
//! that nobody can pass a public key off as a secret (RFC 8725, 3.1), and when its times, issuer
//! and audience are right.

mod claims;
mod keys;

pub use claims::{ClaimRules, Claims, check_template};
pub use keys::{BadKey, Keys};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::Value;

/// What is asked of tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// Algorithms that are taken; empty: all those of the keys.
    pub algorithms: Vec<Algorithm>,
    /// Who has to have issued them (`iss`); empty: anybody who has a key.
    pub issuers: Vec<String>,
    /// Whom they have to be for (`aud`); empty: tokens for somebody in particular are refused.
    pub audiences: Vec<String>,
    /// Seconds by which clocks may differ.
    pub leeway_s: u64,
    /// Tokens without an end (`exp`) are taken.
    pub endless: bool,
    /// What is made of their claims.
    pub claims: ClaimRules,
}

/// Why a token does not let its client in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It is none: it may be a password.
    NotAToken,
    /// No key of that name is known.
    UnknownKey,
    /// For this reason.
    Refused(&'static str),
}

/// An algorithm by its name in RFC 7518 and RFC 8037; `none` is none.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    name.parse().ok()
}

impl TokenRules {
    /// Believes a token or not. `now_s`: seconds since 1970.
    ///
    /// # Errors
    /// See [`BadToken`].
    pub fn verify(&self, keys: &Keys, token: &str, now_s: u64) -> Result<Claims, BadToken> {
        if token.split('.').count() != 3 {
            return Err(BadToken::NotAToken);
        }
        let header = decode_header(token).map_err(|error| match error.kind() {
            // `alg: none`, or one nobody knows.
            ErrorKind::Json(error) if error.is_data() => {
                BadToken::Refused("the token's algorithm is not known")
            }
            _ => BadToken::NotAToken,
        })?;
        if !self.algorithms.is_empty() && !self.algorithms.contains(&header.alg) {
            return Err(BadToken::Refused("the token's algorithm is not in jwt_algorithms"));
        }
        let validation = self.validation(header.alg);
        let mut last = BadToken::UnknownKey;
        for key in keys.candidates(header.kid.as_deref(), header.alg) {
            match decode::<Value>(token, &key.decoding, &validation) {
                Ok(data) => {
                    let end_s = self.check_times(&data.claims, now_s)?;
                    return self
                        .claims
                        .read(&data.claims, end_s, key.tag)
                        .map_err(BadToken::Refused);
                }
                Err(error) => last = BadToken::Refused(reason(error.kind())),
            }
        }
        Err(last)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // The clock is asked by whoever calls this.
        validation.validate_exp = false;
        let mut required = Vec::new();
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// When the token ends, in seconds since 1970 and with the leeway.
    fn check_times(&self, claims: &Value, now_s: u64) -> Result<Option<u64>, BadToken> {
        let refused = |why| Err(BadToken::Refused(why));
        let Ok(begin_s) = seconds(claims.get("nbf")) else {
            return refused("the token's nbf is no time");
        };
        if begin_s.is_some_and(|begin_s| begin_s > now_s.saturating_add(self.leeway_s)) {
            return refused("the token is not valid yet");
        }
        let Ok(end_s) = seconds(claims.get("exp")) else {
            return refused("the token's exp is no time");
        };
        let end_s = end_s.map(|end_s| end_s.saturating_add(self.leeway_s));
        match end_s {
            None if !self.endless => refused("the token has no end (jwt_require_expiry)"),
            Some(end_s) if end_s <= now_s => refused("the token has expired"),
            end_s => Ok(end_s),
        }
    }
}

fn seconds(claim: Option<&Value>) -> Result<Option<u64>, ()> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match (value.as_u64(), value.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            // Rounded down: it ends no later than it says.
            (None, Some(seconds)) if seconds >= 0.0 => Ok(Some(seconds as u64)),
            _ => Err(()),
        },
    }
}

/// What is wrong, for the log.
const fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::InvalidIssuer => "the token is of another issuer (jwt_issuer)",
        ErrorKind::InvalidAudience => "the token is for another audience (jwt_audience)",
        ErrorKind::MissingRequiredClaim(_) => {
            "the token has no iss or no aud (jwt_issuer, jwt_audience)"
        }
        ErrorKind::InvalidAlgorithm => "the token's algorithm is not that of its key",
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
            "the token's content is malformed"
        }
        _ => "the token is not valid",
    }
}
