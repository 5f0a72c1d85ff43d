//! What listeners with TLS, and links between brokers, show and trust: read at the start, on
//! SIGHUP, and when a file changes.

use crate::broker::plan::{PskPlan, TlsPlan, TransportPlan};
use crate::cluster::{Secure, SecurePlan};
use crate::log::why_unread;
use crate::net::shared::{LogSink, Shared};
use mogi_core::LogKind;
use mogi_transport::Sessions;
use mogi_transport::psk::{self, PskKeys, PskProblem};
use mogi_transport::tls_config::{self, TlsConfig, TlsFiles, TlsProblem};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How often it is looked whether a file has changed.
const LOOK_INTERVAL_MS: u64 = 10_000;
/// How often it is said that a certificate expires.
const WARN_INTERVAL_MS: u64 = 24 * 3600 * 1000;
/// Days before a certificate's end from which on that is said.
const WARN_DAYS: i64 = 30;
const DAY_S: i64 = 24 * 3600;

/// Reads the files of a listener, or of links.
///
/// # Errors
/// One of them cannot be read or is not what it should be: a line for the log.
pub(crate) fn load(plan: &TlsPlan) -> Result<TlsConfig, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| why_unread(path, &error));
    let problem = |problem: TlsProblem| say(plan, problem);
    let certificates = read(&plan.certfile).map_err(TlsProblem::Certificate).map_err(problem)?;
    let key = read(&plan.keyfile).map_err(TlsProblem::Key).map_err(problem)?;
    let mut authorities = Vec::new();
    for path in plan.cafile.iter().cloned().chain(hashed_files(plan.capath.as_deref())) {
        authorities.push(read(&path).map_err(TlsProblem::Authorities).map_err(problem)?);
    }
    let revoked = plan.crlfile.as_deref().map(read).transpose();
    let revoked = revoked.map_err(TlsProblem::Revoked).map_err(problem)?;
    let files = TlsFiles { certificates, key, authorities, revoked };
    tls_config::build(&files, &plan.rules).map_err(problem)
}

/// As Mosquitto says it, and why.
fn say(plan: &TlsPlan, problem: TlsProblem) -> String {
    let name = |path: &Path| path.display().to_string();
    let list = |list: &Option<String>| list.clone().unwrap_or_default();
    let prefix = plan.prefix;
    match problem {
        TlsProblem::Certificate(why) => format!(
            "Unable to load server certificate \"{}\". Check {prefix}certfile. ({why})",
            name(&plan.certfile)
        ),
        TlsProblem::Key(why) => format!(
            "Unable to load server key file \"{}\". Check {prefix}keyfile. ({why})",
            name(&plan.keyfile)
        ),
        TlsProblem::Authorities(why) => match (&plan.cafile, &plan.capath) {
            (None, Some(path)) => format!(
                "Unable to load CA certificates. Check {prefix}capath \"{}\", and whether 'openssl \
                 rehash' was run there. ({why})",
                name(path)
            ),
            (path, _) => format!(
                "Unable to load CA certificates. Check {prefix}cafile \"{}\". ({why})",
                path.as_deref().map_or_else(String::new, name)
            ),
        },
        TlsProblem::Revoked(why) => format!(
            "Unable to load certificate revocation file \"{}\". Check {prefix}crlfile. ({why})",
            plan.crlfile.as_deref().map_or_else(String::new, name)
        ),
        TlsProblem::Ciphers(why) => format!(
            "Unable to set TLS ciphers. Check {prefix}ciphers \"{}\". ({why})",
            list(&plan.rules.ciphers)
        ),
        TlsProblem::CiphersTls13(why) => format!(
            "Unable to set TLS 1.3 ciphersuites. Check {prefix}ciphers_tls1.3 \"{}\". ({why})",
            list(&plan.rules.ciphers_tls13)
        ),
    }
}

/// The certificates in `capath`, in the order of their names: as OpenSSL, only those named by
/// their hash, `0123abcd.0`.
pub(crate) fn hashed_files(capath: Option<&Path>) -> Vec<PathBuf> {
    let Some(entries) = capath.and_then(|path| std::fs::read_dir(path).ok()) else {
        return Vec::new();
    };
    let is_hash = |name: &str| {
        name.split_once('.').is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_hash))
        .collect();
    paths.sort();
    paths
}

/// When a file was changed, its size and its number: one of them differs after a change.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamps(plan: &TlsPlan) -> Vec<Stamp> {
    let files = [Some(&plan.certfile), Some(&plan.keyfile), plan.cafile.as_ref()];
    let files = files.into_iter().chain([plan.crlfile.as_ref(), plan.capath.as_ref()]);
    let stamp = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len(), data.ino()))
    };
    let named = files.flatten().map(|path| stamp(path));
    named.chain(hashed_files(plan.capath.as_deref()).iter().map(|path| stamp(path))).collect()
}

/// Reads a listener's shared keys.
///
/// # Errors
/// The file or an option is not what it should be: a line for the log.
fn load_psk(plan: &PskPlan) -> Result<Sessions, String> {
    let keys = match &plan.file {
        // As with Mosquitto it lets nobody in.
        None => PskKeys::default(),
        Some(path) => {
            let name = path.display();
            let bytes = std::fs::read(path).map_err(|error| {
                format!("Unable to open psk_file \"{name}\": {}.", why_unread(path, &error))
            })?;
            PskKeys::parse(&bytes).map_err(|bad| format!("{name}:{}: {}.", bad.line, bad.what))?
        }
    };
    let list = |list: &Option<String>| list.clone().unwrap_or_default();
    psk::build(keys, &plan.rules).map_err(|problem| match problem {
        PskProblem::Ciphers(why) => format!(
            "Unable to set TLS ciphers. Check ciphers \"{}\". ({why})",
            list(&plan.rules.ciphers)
        ),
        PskProblem::CiphersTls13(why) => format!(
            "Unable to set TLS 1.3 ciphersuites. Check ciphers_tls1.3 \"{}\". ({why})",
            list(&plan.rules.ciphers_tls13)
        ),
        PskProblem::Hint(why) => format!("Unable to set 'psk_hint', is it too long? ({why})"),
        PskProblem::Other(why) => format!("Unable to set up TLS with shared keys: {why}."),
    })
}

/// The certificates of all listeners with TLS, and of links, under watch.
pub(crate) struct Certificates {
    watched: Vec<Watched>,
    look_at_ms: u64,
    /// When to say again which certificates expire.
    warn_at_ms: Option<u64>,
}

struct Watched {
    /// Whose it is; `None`: that of links.
    listener: Option<usize>,
    plan: TlsPlan,
    stamps: Vec<Stamp>,
    not_after_s: i64,
}

impl Certificates {
    /// Reads the files of all listeners, and watches them: what each listener's TLS sessions are
    /// made of, if it has any.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn open<'a>(
        plans: impl Iterator<Item = &'a TransportPlan>,
        log: &dyn LogSink,
    ) -> Result<(Self, Vec<Option<Sessions>>), String> {
        let mut all = Self { watched: Vec::new(), look_at_ms: 0, warn_at_ms: None };
        let mut configs = Vec::new();
        for (listener, plan) in plans.enumerate() {
            let Some(plan) = &plan.tls else {
                configs.push(plan.psk.as_ref().map(load_psk).transpose()?);
                continue;
            };
            // Before they are read, so that a change in between is seen.
            let stamps = stamps(plan);
            let config = load(plan)?;
            for doubt in &config.doubts {
                log.log(LogKind::Warning, &format!("Warning: {doubt}"));
            }
            let (plan, not_after_s) = (plan.clone(), config.not_after_s);
            let watched = Watched { listener: Some(listener), plan, stamps, not_after_s };
            watched.warn(log);
            all.watched.push(watched);
            configs.push(Some(config.server.into()));
        }
        Ok((all, configs))
    }

    /// Reads the files of links, and watches them too.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn open_links(
        &mut self,
        plan: &SecurePlan,
        log: &dyn LogSink,
    ) -> Result<Arc<Secure>, String> {
        let stamps = stamps(&plan.files);
        let secure = Secure::load(plan)?;
        let (plan, not_after_s) = (plan.files.clone(), secure.not_after_s);
        let watched = Watched { listener: None, plan, stamps, not_after_s };
        watched.warn(log);
        self.watched.push(watched);
        Ok(Arc::new(secure))
    }

    /// Looks whether there is something to do, and when to call again.
    pub(crate) fn look(&mut self, shared: &Shared, now_ms: u64) -> Option<u64> {
        if self.watched.is_empty() {
            return None;
        }
        if self.look_at_ms <= now_ms {
            self.look_at_ms = now_ms + LOOK_INTERVAL_MS;
            self.read_changed(shared);
        }
        let warn_at_ms = *self.warn_at_ms.get_or_insert(now_ms + WARN_INTERVAL_MS);
        if warn_at_ms <= now_ms {
            self.warn_at_ms = Some(now_ms + WARN_INTERVAL_MS);
            self.watched.iter().for_each(|watched| watched.warn(shared.log));
        }
        Some(self.look_at_ms)
    }

    /// Reads what has changed again. What is wrong is told, and what was there before stays in use.
    fn read_changed(&mut self, shared: &Shared) {
        for watched in &mut self.watched {
            let stamps = stamps(&watched.plan);
            if stamps == watched.stamps {
                continue;
            }
            watched.stamps = stamps;
            let file = watched.plan.certfile.display();
            match watched.read(shared) {
                Ok(not_after_s) => {
                    watched.not_after_s = not_after_s;
                    let line = format!("The certificate \"{file}\" was read again.");
                    shared.log.log(LogKind::Information, &line);
                    watched.warn(shared.log);
                }
                Err(problem) => {
                    let line = format!("Error: {problem} What was read before stays in use.");
                    shared.log.log(LogKind::Error, &line);
                }
            }
        }
    }
}

impl Watched {
    /// Reads the files again and puts them to use; until when the certificate is valid.
    fn read(&self, shared: &Shared) -> Result<i64, String> {
        let links = shared.links.get();
        let secure = links.and_then(|links| links.plan.secure.as_ref().zip(Some(links)));
        match (self.listener, secure) {
            (None, Some((plan, links))) => {
                let secure = Secure::load(plan)?;
                let not_after_s = secure.not_after_s;
                links.set_secure(Arc::new(secure));
                Ok(not_after_s)
            }
            (listener, _) => {
                let config = load(&self.plan)?;
                if let Some(listener) = listener.and_then(|at| shared.listeners.get(at)) {
                    listener.rules().transport.set_tls(config.server.into());
                }
                Ok(config.not_after_s)
            }
        }
    }

    /// Says that the certificate expires soon, or has expired.
    fn warn(&self, log: &dyn LogSink) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let left_s = self.not_after_s - now.map_or(0, |elapsed| elapsed.as_secs() as i64);
        if left_s > WARN_DAYS * DAY_S {
            return;
        }
        let file = self.plan.certfile.display();
        let when = jiff::Timestamp::from_second(self.not_after_s);
        let when = when.map_or_else(|_| String::new(), |when| format!(", on {when}"));
        let line = if left_s < 0 {
            format!("Warning: The certificate \"{file}\" has expired{when}.")
        } else {
            let days = left_s / DAY_S;
            format!("Warning: The certificate \"{file}\" expires in {days} days{when}.")
        };
        log.log(LogKind::Warning, &line);
    }
}
