//! Users that no file knows: tokens, services, SCRAM; from lines to what the broker runs.

use super::builder::Builder;
use super::value::{Line, Problem};
use super::{Config, Listener, Security};
use crate::access::plan::{HttpPlan, SourcePlan, TokenPlan, WebPlan};
use mogi_auth::jwt::{algorithm, check_template};
use std::path::PathBuf;

type Outcome = Result<(), Problem>;

/// Options about tokens (`jwt_*`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Jwt {
    pub(crate) key_file: Option<String>,
    pub(crate) secret_file: Option<String>,
    pub(crate) jwks_url: Option<String>,
    pub(crate) algorithms: Vec<String>,
    pub(crate) issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) endless: bool,
    pub(crate) username_claim: Option<String>,
    pub(crate) client_id_claim: Option<String>,
    pub(crate) acl_claim: Option<String>,
    pub(crate) acl: Vec<String>,
}

/// `http_auth_url URL`.
pub(super) fn http_auth_url(to: &mut Builder, line: &Line) -> Outcome {
    let url = url(line)?;
    to.security().http_auth_url = Some(url);
    Ok(())
}

/// `http_acl_url URL`.
pub(super) fn http_acl_url(to: &mut Builder, line: &Line) -> Outcome {
    let url = url(line)?;
    to.security().http_acl_url = Some(url);
    Ok(())
}

/// `jwt_jwks_url URL`.
pub(super) fn jwt_jwks_url(to: &mut Builder, line: &Line) -> Outcome {
    let url = url(line)?;
    to.security().jwt.jwks_url = Some(url);
    Ok(())
}

/// `http_header NAME: VALUE`.
pub(super) fn http_header(to: &mut Builder, line: &Line) -> Outcome {
    use ureq::http::{HeaderName, HeaderValue};
    let parts = line.text()?.split_once(':');
    let (name, value) = parts.ok_or_else(|| {
        Problem::new("Error: 'http_header' is no header; it has the form NAME: VALUE.")
    })?;
    let (name, value) = (name.trim(), value.trim());
    if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
        // Not the value: it may be a secret.
        return Err(Problem(format!("Error: 'http_header' with '{name}' is no header.")));
    }
    to.config.access.web.headers.push((name.to_owned(), value.to_owned()));
    Ok(())
}

/// `jwt_acl [read|write|readwrite|deny] FILTER`.
pub(super) fn jwt_acl(to: &mut Builder, line: &Line) -> Outcome {
    let text = line.text()?;
    check_template(text).map_err(|why| Problem(format!("Error: 'jwt_acl': {why}.")))?;
    to.security().jwt.acl.push(text.to_owned());
    Ok(())
}

/// `jwt_algorithms NAME …`.
pub(super) fn jwt_algorithms(to: &mut Builder, line: &Line) -> Outcome {
    line.word()?;
    for name in line.words() {
        if algorithm(name).is_none() {
            return Err(Problem(format!(
                "Error: '{name}' is no algorithm of 'jwt_algorithms'; there are HS256, HS384, \
                 HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA."
            )));
        }
        to.security().jwt.algorithms.push(name.to_owned());
    }
    Ok(())
}

/// `jwt_audience TEXT …`.
pub(super) fn jwt_audience(to: &mut Builder, line: &Line) -> Outcome {
    line.word()?;
    to.security().jwt.audiences.extend(line.words().map(str::to_owned));
    Ok(())
}

/// `jwt_issuer TEXT …`.
pub(super) fn jwt_issuer(to: &mut Builder, line: &Line) -> Outcome {
    line.word()?;
    to.security().jwt.issuers.extend(line.words().map(str::to_owned));
    Ok(())
}

fn url(line: &Line) -> Result<String, Problem> {
    let text = line.text()?;
    let good = text.parse::<ureq::http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    match good {
        true => Ok(text.to_owned()),
        false => Err(Problem(format!(
            "Error: '{text}' is no address for '{}'; it begins with http:// or https://.",
            line.name
        ))),
    }
}

/// Where a listener's options of this kind stand.
pub(super) const fn security<'a>(config: &'a Config, listener: &'a Listener) -> &'a Security {
    if config.per_listener_settings { &listener.own } else { &config.security }
}

/// A service, and what is made of tokens, stay what they were at the start: only what the files say
/// is read again.
pub(super) fn keep(old: &Security, new: &mut Security) {
    let (key_file, secret_file) = (new.jwt.key_file.take(), new.jwt.secret_file.take());
    new.jwt = Jwt { key_file, secret_file, ..old.jwt.clone() };
    new.http_auth_url.clone_from(&old.http_auth_url);
    new.http_acl_url.clone_from(&old.http_acl_url);
}

/// What a listener asks besides files and plugins, in this order.
///
/// # Errors
/// Something is missing: a line for the log.
pub(super) fn sources(config: &Config, listener: &Listener) -> Result<Vec<SourcePlan>, String> {
    let security = security(config, listener);
    let mut sources = Vec::new();
    sources.extend(security.scram_file.as_ref().map(|it| SourcePlan::Scram(PathBuf::from(it))));
    sources.extend(tokens(security)?.map(|it| SourcePlan::Tokens(Box::new(it))));
    match (&security.http_auth_url, &security.http_acl_url) {
        (None, Some(_)) => {
            return Err(
                "Error: 'http_acl_url' is about clients that 'http_auth_url' lets in, and \
                        there is none."
                    .to_owned(),
            );
        }
        (None, None) => {}
        (Some(auth_url), acl_url) => sources.push(SourcePlan::Http(HttpPlan {
            auth_url: auth_url.clone(),
            acl_url: acl_url.clone(),
        })),
    }
    Ok(sources)
}

fn tokens(security: &Security) -> Result<Option<TokenPlan>, String> {
    let jwt = &security.jwt;
    let keys = [&jwt.key_file, &jwt.secret_file, &jwt.jwks_url];
    if keys.iter().all(|key| key.is_none()) {
        return match jwt.says_something() {
            true => Err("Error: There are options about tokens (jwt_*), and no key: set \
                         'jwt_key_file', 'jwt_secret_file' or 'jwt_jwks_url'."
                .to_owned()),
            false => Ok(None),
        };
    }
    let claim =
        |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
    Ok(Some(TokenPlan {
        key_file: jwt.key_file.as_ref().map(PathBuf::from),
        secret_file: jwt.secret_file.as_ref().map(PathBuf::from),
        jwks_url: jwt.jwks_url.clone(),
        algorithms: jwt.algorithms.clone(),
        issuers: jwt.issuers.clone(),
        audiences: jwt.audiences.clone(),
        endless: jwt.endless,
        username_claim: claim(&jwt.username_claim, "sub"),
        client_id_claim: claim(&jwt.client_id_claim, ""),
        acl_claim: claim(&jwt.acl_claim, "acl"),
        acl: jwt.acl.clone(),
    }))
}

impl Jwt {
    /// Whether any of its options stands somewhere.
    const fn says_something(&self) -> bool {
        self.endless
            || !self.algorithms.is_empty()
            || !self.issuers.is_empty()
            || !self.audiences.is_empty()
            || !self.acl.is_empty()
            || self.username_claim.is_some()
            || self.client_id_claim.is_some()
            || self.acl_claim.is_some()
    }
}

/// How services are asked.
pub(super) fn web(config: &Config) -> WebPlan {
    let cafile = config.access.cafile.as_ref().map(PathBuf::from);
    WebPlan { cafile, ..config.access.web.clone() }
}
