//! Who may come in, and do what: between the rules (`mogi-auth`), the files they stand in, and the
//! workers who ask.
//!
//! * `plan`: what the configuration says
//! * `files`: reading and saving
//! * `login`: a client's CONNECT
//! * `pool`: threads that check passwords
//! * `ban`: addresses with failed logins
//! * `control`: requests on `$CONTROL/`, and changed rules

mod ban;
mod control;
mod files;
mod login;
pub(crate) mod plan;
mod pool;

pub(crate) use control::{Judge, enforce_reloaded, request};
pub(crate) use login::{Login, Refusal};

use crate::net::shared::LogSink;
use ban::Bans;
use control::Desk;
use mogi_auth::Who;
use mogi_auth::dynsec::Dynsec;
use mogi_auth::rules::RuleSet;
use mogi_core::{Access as CoreAccess, Authority, Rights};
use plan::AccessPlan;
use pool::Pool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What all workers share about users and rights.
pub(crate) struct Access {
    /// Written when the configuration is read again.
    plan: RwLock<Arc<AccessPlan>>,
    /// What counts now. Read at each CONNECT, written when rules change.
    current: RwLock<Current>,
    /// Dynamic security as it was saved last.
    dynsec: Mutex<Option<Arc<Dynsec>>>,
    desk: Desk,
    pool: Pool,
    pub(crate) bans: Bans,
}

#[derive(Clone)]
struct Current {
    sets: Vec<Arc<RuleSet>>,
    rights: Rights,
    epoch: u64,
}

impl Access {
    /// Reads all files.
    ///
    /// # Errors
    /// One of them cannot be used: a line for the log.
    pub(crate) fn new(plan: AccessPlan, log: &dyn LogSink) -> Result<Self, String> {
        let dynsec = match &plan.dynsec {
            Some(dynsec) => Some(Arc::new(files::load_dynsec(dynsec, log)?)),
            None => None,
        };
        let sets = files::load(&plan, dynsec.as_ref(), log)?;
        let rights = rights_of(&plan, &sets, 1);
        Ok(Self {
            current: RwLock::new(Current { sets, rights, epoch: 1 }),
            dynsec: Mutex::new(dynsec),
            desk: Desk::default(),
            pool: Pool::new(plan.threads),
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
        let dynsec = self.dynsec.lock().unwrap_or_else(PoisonError::into_inner);
        let sets =
            files::load(&plan, dynsec.as_ref(), log).map_err(|line| format!("Error: {line}"))?;
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
        Ok(self.replace(sets))
    }

    fn set(&self, table: u16) -> Option<Arc<RuleSet>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.sets.get(usize::from(table)).cloned()
    }

    fn sets(&self) -> Vec<Arc<RuleSet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).sets.clone()
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

fn rights_of(plan: &AccessPlan, sets: &[Arc<RuleSet>], epoch: u64) -> Rights {
    let table = |set: &Arc<RuleSet>| -> Option<Arc<dyn Authority>> {
        set.limits_topics().then(|| Arc::new(Rules(Arc::clone(set))) as Arc<dyn Authority>)
    };
    let control = plan.control_api || plan.dynsec.is_some();
    // Where all listeners have the same rules, these count for sessions as well whose listener is
    // not known.
    let all_same = plan.sets.windows(2).all(|pair| pair[0] == pair[1]);
    let tables = sets.iter().take(if all_same { 1 } else { sets.len() }).map(table);
    Rights::new(tables.collect(), epoch, control)
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
        let access = match access {
            CoreAccess::Read => mogi_auth::Access::Read,
            CoreAccess::Write => mogi_auth::Access::Write,
            CoreAccess::Subscribe => mogi_auth::Access::Subscribe,
            CoreAccess::Unsubscribe => mogi_auth::Access::Unsubscribe,
        };
        self.0.allows(&Who { client_id, username }, access, topic)
    }
}
