//! What is known of users and rights, as the configuration has it.

use std::path::PathBuf;

/// Who may come in, and do what.
#[derive(Clone, Debug)]
pub(crate) struct AccessPlan {
    /// The rules listeners have; each listener has one of them.
    pub(crate) sets: Vec<SetPlan>,
    /// Dynamic security, if some listener has it.
    pub(crate) dynsec: Option<DynsecPlan>,
    /// SUBSCRIBE is refused where not everything may be read.
    pub(crate) strict: bool,
    /// `$CONTROL/broker/v1` is answered.
    pub(crate) control_api: bool,
    /// Threads that check passwords.
    pub(crate) threads: u16,
    pub(crate) bans: BanLimits,
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
