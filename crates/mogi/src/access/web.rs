//! Requests to services of other people: bounded in time and size, and not made while the service
//! is known to be broken.

use super::plan::WebPlan;
use crate::net::shared::LogSink;
use mogi_core::LogKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Bytes an answer may have.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
/// Bytes the head of an answer may have.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Who makes requests.
pub(super) struct Web {
    agent: Agent,
    headers: Vec<(String, String)>,
}

/// A service that is asked.
pub(super) struct Service {
    web: Arc<Web>,
    url: String,
    failures: u32,
    retry: Duration,
    state: Mutex<State>,
    log: &'static dyn LogSink,
}

#[derive(Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Not asked until then, unless it is the one that tries.
    closed_until: Option<Instant>,
}

/// What a service answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Web {
    /// # Errors
    /// The authorities cannot be read: a line for the log.
    pub(super) fn new(plan: &WebPlan) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&authorities(plan)?))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Whoever asks has said whom.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_millis(plan.timeout_ms)))
            .max_response_header_size(MAX_HEAD_BYTES)
            .max_idle_connections(usize::from(plan.requests))
            .max_idle_connections_per_host(usize::from(plan.requests))
            .user_agent("mogi")
            .build();
        Ok(Self { agent: agent.into(), headers: plan.headers.clone() })
    }

    fn get(&self, url: &str) -> Result<Answer, ureq::Error> {
        read(self.agent.get(url).call()?)
    }

    /// Headers of the configuration carry secrets of the services that decide, and go nowhere else.
    fn post(&self, url: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(url).content_type("application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        read(request.send(body)?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
    Ok(Answer { status: response.status().as_u16(), body })
}

/// Who signs the certificates of services.
fn authorities(plan: &WebPlan) -> Result<Vec<Certificate<'static>>, String> {
    let Some(path) = &plan.cafile else {
        let found = rustls_native_certs::load_native_certs().certs;
        return Ok(found.iter().map(|it| Certificate::from_der(it).to_owned()).collect());
    };
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        format!("Unable to open http_cafile \"{name}\": {}.", crate::log::why(&error))
    })?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = parse_pem(&bytes).filter_map(certificate).collect();
    match found.is_empty() {
        true => Err(format!("http_cafile \"{name}\" has no certificate.")),
        false => Ok(found),
    }
}

impl Service {
    pub(super) fn new(
        web: &Arc<Web>,
        url: &str,
        plan: &WebPlan,
        log: &'static dyn LogSink,
    ) -> Self {
        Self {
            web: Arc::clone(web),
            url: url.to_owned(),
            failures: plan.failures,
            retry: Duration::from_millis(plan.retry_ms),
            state: Mutex::default(),
            log,
        }
    }

    /// Gets what is there; it takes as long as `http_timeout` says at most.
    pub(super) fn get(&self) -> Option<Answer> {
        self.call(|| self.web.get(&self.url))
    }

    /// Asks; it takes as long as `http_timeout` says at most. `None`: it does not answer.
    pub(super) fn post(&self, body: &[u8]) -> Option<Answer> {
        self.call(|| self.web.post(&self.url, body))
    }

    /// An answer that makes no sense counts as none.
    pub(super) fn made_no_sense(&self, what: &str) {
        self.failed(what);
    }

    fn call(&self, ask: impl FnOnce() -> Result<Answer, ureq::Error>) -> Option<Answer> {
        if !self.may_try() {
            return None;
        }
        match ask() {
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.closed_until.is_some() {
                    let line = format!("{} answers again.", self.url);
                    self.log.log(LogKind::Notice, &line);
                }
                *state = State::default();
                Some(answer)
            }
            Ok(answer) => {
                self.failed(&format!("status {}", answer.status));
                None
            }
            Err(error) => {
                self.failed(&error.to_string());
                None
            }
        }
    }

    /// One tries while the others wait.
    fn may_try(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.closed_until {
            None => true,
            Some(until) if until > Instant::now() => false,
            Some(_) => {
                state.closed_until = Some(Instant::now() + self.retry);
                true
            }
        }
    }

    fn failed(&self, why: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        let closes = self.failures != 0 && state.failures >= self.failures;
        if closes {
            state.closed_until = Some(Instant::now() + self.retry);
        }
        let told = state.failures <= self.failures.max(1);
        drop(state);
        if told {
            let why: String = why.chars().take(200).flat_map(char::escape_debug).collect();
            let line = format!("Warning: {} does not answer as it should: {why}.", self.url);
            self.log.log(LogKind::Warning, &line);
        }
        if closes && told {
            let seconds = self.retry.as_secs();
            let line = format!(
                "Warning: {} is asked again in {seconds} s; until then nobody is let in by it.",
                self.url
            );
            self.log.log(LogKind::Warning, &line);
        }
    }
}
