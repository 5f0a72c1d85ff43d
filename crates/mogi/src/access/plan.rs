//! What is known of users and rights, as the configuration has it.

use std::path::PathBuf;

/// Who may come in, and do what.
#[derive(Clone, Debug)]
pub(crate) struct AccessPlan {
    /// The rules listeners have; each listener has one of them.
    pub(crate) sets: Vec<SetPlan>,
    /// The ports of these listeners; 0: a Unix socket.
    pub(crate) ports: Vec<u16>,
    /// Dynamic security, if some listener has it.
    pub(crate) dynsec: Option<DynsecPlan>,
    /// SUBSCRIBE is refused where not everything may be read.
    pub(crate) strict: bool,
    /// `$CONTROL/broker/v1` is answered.
    pub(crate) control_api: bool,
    /// Threads that check passwords.
    pub(crate) threads: u16,
    pub(crate) bans: BanLimits,
    pub(crate) web: WebPlan,
    /// Seconds by which clocks may differ from that of who makes tokens.
    pub(crate) leeway_s: u64,
    /// Milliseconds a client whose login failed waits for the answer.
    pub(crate) delay_ms: u64,
}

/// The rules of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetPlan {
    /// In the order they are asked.
    pub(crate) sources: Vec<SourcePlan>,
    pub(crate) allow_anonymous: bool,
}

/// Where rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourcePlan {
    Passwords(PathBuf),
    Acl(PathBuf),
    Dynsec,
    Scram(PathBuf),
    Tokens(Box<TokenPlan>),
    Http(HttpPlan),
}

/// Which tokens are believed, and what is made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenPlan {
    /// Public keys, in PEM or as a set.
    pub(crate) key_file: Option<PathBuf>,
    /// A secret.
    pub(crate) secret_file: Option<PathBuf>,
    /// Where a set of keys is published.
    pub(crate) jwks_url: Option<String>,
    /// Empty: all those of the keys.
    pub(crate) algorithms: Vec<String>,
    pub(crate) issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) endless: bool,
    pub(crate) username_claim: String,
    pub(crate) client_id_claim: String,
    pub(crate) acl_claim: String,
    /// Rules with claims in them.
    pub(crate) acl: Vec<String>,
}

/// A service that knows users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpPlan {
    pub(crate) auth_url: String,
    /// It is asked about topics as well.
    pub(crate) acl_url: Option<String>,
}

/// How services are asked.
#[derive(Clone, Debug)]
pub(crate) struct WebPlan {
    /// Milliseconds an answer may take.
    pub(crate) timeout_ms: u64,
    /// Requests at once.
    pub(crate) requests: u16,
    /// Milliseconds an answer counts.
    pub(crate) cache_ms: u64,
    /// Answers remembered.
    pub(crate) cache_entries: usize,
    /// Failures in a row after which it is not asked for a while; 0: it is always asked.
    pub(crate) failures: u32,
    /// How long.
    pub(crate) retry_ms: u64,
    /// Milliseconds published keys count.
    pub(crate) keys_ms: u64,
    pub(crate) headers: Vec<(String, String)>,
    /// Who signs the services' certificates; `None`: whom the system trusts.
    pub(crate) cafile: Option<PathBuf>,
}

impl Default for WebPlan {
    fn default() -> Self {
        Self {
            timeout_ms: 3000,
            requests: 8,
            cache_ms: 60_000,
            cache_entries: 10_000,
            failures: 5,
            retry_ms: 10_000,
            keys_ms: 300_000,
            headers: Vec::new(),
            cafile: None,
        }
    }
}

/// Dynamic security.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DynsecPlan {
    /// Where it is kept.
    pub(crate) file: PathBuf,
    /// The first administrator's password, if there is no such file yet.
    pub(crate) init_password_file: Option<PathBuf>,
}

/// From when on, and for how long, an address is not let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BanLimits {
    /// Failed logins; 0: never.
    pub(crate) attempts: u32,
    /// Within so much time.
    pub(crate) window_ms: u64,
    /// For so long.
    pub(crate) time_ms: u64,
    /// Addresses remembered.
    pub(crate) addresses: usize,
}

impl Default for BanLimits {
    fn default() -> Self {
        Self { attempts: 0, window_ms: 60_000, time_ms: 600_000, addresses: 10_000 }
    }
}
