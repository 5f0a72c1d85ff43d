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

pub(crate) use control::{Judge, reload, request};
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
    plan: AccessPlan,
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
            plan,
        })
    }

    /// What clients may do now.
    pub(crate) fn rights(&self) -> Rights {
        self.current.read().unwrap_or_else(PoisonError::into_inner).rights.clone()
    }

    /// Milliseconds a client whose login failed waits for the answer.
    pub(crate) const fn delay_ms(&self) -> u64 {
        self.plan.delay_ms
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
        let rights = rights_of(&self.plan, &sets, epoch);
        *current = Current { sets, rights: rights.clone(), epoch };
        rights
    }
}

fn rights_of(plan: &AccessPlan, sets: &[Arc<RuleSet>], epoch: u64) -> Rights {
    let table = |set: &Arc<RuleSet>| -> Option<Arc<dyn Authority>> {
        set.limits_topics().then(|| Arc::new(Rules(Arc::clone(set))) as Arc<dyn Authority>)
    };
    let control = plan.control_api || plan.dynsec.is_some();
    Rights::new(sets.iter().map(table).collect(), epoch, control)
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
