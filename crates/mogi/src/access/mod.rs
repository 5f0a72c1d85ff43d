//! Who may come in, and do what: between the rules (`mogi-auth`), the files they stand in, and the
//! workers who ask.
//!
//! * `plan`: what the configuration says
//! * `files`: reading and saving
//! * `dynsec`: dynamic security, in a file or shared by brokers
//! * `login`: a client's CONNECT
//! * `tokens`: what a token says, and whose keys are believed
//! * `remote`, `web`, `memory`: services that know users, how they are asked, what they said
//! * `scram`: exchanges by AUTH packets
//! * `pool`: threads that check passwords
//! * `ban`: addresses with failed logins
//! * `control`: requests on `$CONTROL/`, and changed rules

mod ban;
mod control;
mod dynsec;
mod files;
mod login;
mod memory;
pub(crate) mod plan;
mod pool;
mod remote;
mod scram;
mod tokens;
mod web;

pub(crate) use control::{Judge, enforce_reloaded, request};
pub(crate) use dynsec::{refresh, watch};
pub(crate) use login::{Caller, Login, Refusal, Welcome};

use crate::net::shared::LogSink;
use ban::Bans;
use control::Desk;
use dynsec::Keeping;
use memory::Memory;
use mogi_auth::Who;
use mogi_auth::rules::RuleSet;
use mogi_core::{Access as CoreAccess, Authority, Rights};
use mogi_store::redis::RedisOptions;
use plan::{AccessPlan, SetPlan, SourcePlan};
use pool::Pool;
use remote::Remote;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokens::KeySet;
use web::{Service, Web};

/// What all workers share about users and rights.
pub(crate) struct Access {
    /// Written when the configuration is read again.
    plan: RwLock<Arc<AccessPlan>>,
    /// What counts now. Read at each CONNECT, written when rules change.
    current: RwLock<Current>,
    dynsec: Option<Keeping>,
    desk: Desk,
    pool: Pool,
    /// Threads that ask services.
    asking: Arc<Pool>,
    /// By set of rules.
    services: Vec<Services>,
    /// Of it salts are made for users who do not exist.
    secret: [u8; 32],
    pub(crate) bans: Bans,
}

/// What the rules of a listener ask elsewhere.
#[derive(Clone, Default)]
struct Services {
    /// Keys of tokens that somebody publishes.
    keys: Option<Arc<KeySet>>,
    remote: Option<Arc<Remote>>,
}

impl Services {
    /// Whether anybody else is asked at a login.
    const fn is_asked(&self) -> bool {
        self.keys.is_some() || self.remote.is_some()
    }
}

#[derive(Clone)]
struct Current {
    sets: Vec<Arc<RuleSet>>,
    rights: Rights,
    epoch: u64,
}

impl Access {
    /// Reads all files. `redis`: where the state is, if it is there; then dynamic security is, too.
    ///
    /// # Errors
    /// One of them cannot be used: a line for the log.
    pub(crate) fn new(
        plan: AccessPlan,
        redis: Option<&RedisOptions>,
        log: &'static dyn LogSink,
    ) -> Result<Self, String> {
        let open = |plan| Keeping::open(plan, redis, log);
        let dynsec = plan.dynsec.as_ref().map(open).transpose()?;
        let sets = files::load(&plan, dynsec.as_ref().map(|it| it.lock().dynsec.clone()), log)?;
        let rights = rights_of(&plan, &sets, 1);
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| "the system gives no random numbers.")?;
        let asking = Arc::new(Pool::new(plan.web.requests, "ask"));
        let services = services(&plan, &asking, secret, log)?;
        Ok(Self {
            current: RwLock::new(Current { sets, rights, epoch: 1 }),
            dynsec,
            desk: Desk::default(),
            pool: Pool::new(plan.threads, "auth"),
            asking,
            services,
            secret,
            bans: Bans::new(plan.bans),
            plan: RwLock::new(Arc::new(plan)),
        })
    }

    /// What clients may do now.
    pub(crate) fn rights(&self) -> Rights {
        self.current.read().unwrap_or_else(PoisonError::into_inner).rights.clone()
    }

    /// Milliseconds a client whose login failed waits for the answer.
    pub(crate) fn delay_ms(&self) -> u64 {
        self.plan().delay_ms
    }

    fn plan(&self) -> Arc<AccessPlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads all files again and puts what they say in force: what workers are to be told. Of
    /// dynamic security, bans and threads what the broker was started with stays.
    ///
    /// # Errors
    /// One of them cannot be used, and nothing has changed: a line for the log.
    pub(crate) fn reload(&self, plan: AccessPlan, log: &dyn LogSink) -> Result<Rights, String> {
        // So that a change of dynamic security and this do not cross.
        let state = self.dynsec.as_ref().map(Keeping::lock);
        let dynsec = state.as_ref().map(|state| Arc::clone(&state.dynsec));
        let sets = files::load(&plan, dynsec, log).map_err(|line| format!("Error: {line}"))?;
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
        self.forget_answers();
        Ok(self.replace(sets))
    }

    fn set(&self, table: u16) -> Option<Arc<RuleSet>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.sets.get(usize::from(table)).cloned()
    }

    fn sets(&self) -> Vec<Arc<RuleSet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).sets.clone()
    }

    /// Forgets what services said, as they are to be asked anew.
    fn forget_answers(&self) {
        self.services.iter().filter_map(|it| it.remote.as_ref()).for_each(|it| it.forget());
    }

    /// Puts other rules in force; what workers are to be told.
    fn replace(&self, sets: Vec<Arc<RuleSet>>) -> Rights {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = current.epoch + 1;
        let rights = rights_of(&self.plan(), &sets, epoch);
        *current = Current { sets, rights: rights.clone(), epoch };
        rights
    }
}

/// The services of each set of rules.
fn services(
    plan: &AccessPlan,
    pool: &Arc<Pool>,
    salt: [u8; 32],
    log: &'static dyn LogSink,
) -> Result<Vec<Services>, String> {
    let asks = |source: &SourcePlan| match source {
        SourcePlan::Tokens(tokens) => tokens.jwks_url.is_some(),
        SourcePlan::Http(_) => true,
        _ => false,
    };
    if !plan.sets.iter().flat_map(|set| &set.sources).any(asks) {
        return Ok(vec![Services::default(); plan.sets.len()]);
    }
    let web = Arc::new(Web::new(&plan.web)?);
    let service = |url: &str| Service::new(&web, url, &plan.web, log);
    let of_set = |set: &SetPlan| {
        let mut services = Services::default();
        for source in &set.sources {
            match source {
                SourcePlan::Tokens(tokens) => {
                    let refresh = Duration::from_millis(plan.web.keys_ms);
                    services.keys = tokens
                        .jwks_url
                        .as_ref()
                        .map(|url| Arc::new(KeySet::new(service(url), refresh, log)));
                }
                SourcePlan::Http(http) => {
                    let time = Duration::from_millis(plan.web.cache_ms);
                    services.remote = Some(Arc::new(Remote {
                        auth: service(&http.auth_url),
                        acl: http.acl_url.as_deref().map(service),
                        logins: Memory::new(plan.web.cache_entries, time),
                        answers: Memory::new(plan.web.cache_entries, time),
                        pool: Arc::clone(pool),
                        time,
                        salt,
                    }));
                }
                _ => {}
            }
        }
        services
    };
    Ok(plan.sets.iter().map(of_set).collect())
}

fn rights_of(plan: &AccessPlan, sets: &[Arc<RuleSet>], epoch: u64) -> Rights {
    let granted = sets.iter().any(|set| set.grants());
    let table = |set: &Arc<RuleSet>| -> Option<Arc<dyn Authority>> {
        set.limits_topics().then(|| Arc::new(Rules(Arc::clone(set))) as Arc<dyn Authority>)
    };
    let control = plan.control_api || plan.dynsec.is_some();
    // Where all listeners have the same rules, these count for sessions as well whose listener is
    // not known.
    let all_same = !granted && plan.sets.windows(2).all(|pair| pair[0] == pair[1]);
    let tables = sets.iter().take(if all_same { 1 } else { sets.len() }).map(table);
    let rights = Rights::new(tables.collect(), epoch, control).with_ports(&plan.ports);
    if granted { rights.with_grants() } else { rights }
}

/// The rules' word for what a client wants to do.
const fn own(access: CoreAccess) -> mogi_auth::Access {
    match access {
        CoreAccess::Read => mogi_auth::Access::Read,
        CoreAccess::Write => mogi_auth::Access::Write,
        CoreAccess::Subscribe => mogi_auth::Access::Subscribe,
        CoreAccess::Unsubscribe => mogi_auth::Access::Unsubscribe,
    }
}

/// Rules, as the core asks them.
#[derive(Debug)]
struct Rules(Arc<RuleSet>);

impl Authority for Rules {
    fn allows(
        &self,
        client_id: &str,
        username: Option<&str>,
        access: CoreAccess,
        topic: &str,
    ) -> bool {
        self.0.allows(&Who { client_id, username }, own(access), topic)
    }
}
