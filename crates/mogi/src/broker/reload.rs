//! SIGHUP: the configuration and all files it names are read again, by a thread of its own, and
//! count from then on as a whole; if anything in them is wrong, everything stays as it was.

use crate::bridge::Bridges;
use crate::broker::plan::{Reload, Reloaded};
use crate::cluster::{Links, SecurePlan};
use crate::log::why;
use crate::net::certificates::Certificates;
use crate::net::shared::{ListenerRules, Shared, Transport};
use mogi_core::LogKind;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Reads the configuration again when it is asked to.
pub(super) struct Reloader {
    shared: Arc<Shared>,
    /// Bridges end with the broker, and not with a thread that still reads.
    bridges: Weak<Bridges>,
    certificates: Arc<Mutex<Certificates>>,
    read: Mutex<Reload>,
    asked: Mutex<Asked>,
}

/// What is being done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing.
    No,
    /// A thread reads.
    Once,
    /// It reads, and then again: what it has read may have changed since.
    Again,
}

impl Reloader {
    pub(super) fn new(
        shared: &Arc<Shared>,
        bridges: &Arc<Bridges>,
        certificates: &Arc<Mutex<Certificates>>,
        read: Reload,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            bridges: Arc::downgrade(bridges),
            certificates: Arc::clone(certificates),
            read: Mutex::new(read),
            asked: Mutex::new(Asked::No),
        })
    }

    /// Has everything read again.
    pub(super) fn start(self: &Arc<Self>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if *asked != Asked::No {
            *asked = Asked::Again;
            return;
        }
        let own = Arc::clone(self);
        match std::thread::Builder::new().name("reload".to_owned()).spawn(move || own.work()) {
            Ok(_) => *asked = Asked::Once,
            Err(error) => self.give_up(&format!("Error: {}.", why(&error))),
        }
    }

    fn work(&self) {
        loop {
            self.shared.log.log(LogKind::Information, "Reloading config.");
            match self.reload() {
                Ok(()) => self.shared.log.log(LogKind::Information, "Config reloaded."),
                Err(line) => self.give_up(&line),
            }
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if *asked != Asked::Again {
                *asked = Asked::No;
                return;
            }
            *asked = Asked::Once;
        }
    }

    fn give_up(&self, line: &str) {
        if !line.is_empty() {
            self.shared.log.log(LogKind::Error, line);
        }
        self.shared.log.log(LogKind::Error, "Error: The configuration stays as it was.");
    }

    /// Links to other brokers, if they have TLS, and which files that is made of.
    fn links_secure(&self) -> Option<(&Arc<Links>, &SecurePlan)> {
        let links = self.shared.links.get()?;
        Some((links, links.plan.secure.as_ref()?))
    }

    /// # Errors
    /// Why it stays as it was: a line for the log; empty: it was told.
    fn reload(&self) -> Result<(), String> {
        let shared = &self.shared;
        // Whatever becomes of the rest: who moves log files away counts on it.
        shared.log.reopen();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Reloaded { listeners, tuning, access, bridges, commit }) = read() else {
            return Err(String::new());
        };
        let plans = listeners.iter().map(|listener| &listener.transport);
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut watched, configs) = Certificates::open(plans, shared.log)?;
        let secure = self.links_secure().map(|(links, plan)| {
            watched.open_links(plan, shared.log).map(|secure| (links, plan, secure))
        });
        let secure = secure.transpose()?;
        let rights = shared.access.reload(access, shared.log)?;
        // Nothing can go wrong any more.
        *certificates = watched;
        drop(certificates);
        for ((state, plan), tls) in shared.listeners.iter().zip(listeners).zip(configs) {
            if let Some(tls) = &plan.transport.tls {
                let file = tls.certfile.display();
                let line = format!("The certificate \"{file}\" was read again.");
                shared.log.log(LogKind::Information, &line);
            }
            state.set_rules(ListenerRules {
                transport: Transport::new(&plan.transport, tls),
                core: plan.core,
                max_connections: plan.max_connections,
            });
        }
        if let Some((links, plan, secure)) = secure {
            let file = plan.files.certfile.display();
            let line = format!("The certificate \"{file}\" was read again.");
            shared.log.log(LogKind::Information, &line);
            links.set_secure(secure);
        }
        shared.set_tuning(tuning);
        commit();
        crate::access::enforce_reloaded(shared, rights);
        match self.bridges.upgrade().map(|running| running.set(bridges)) {
            Some(Err(error)) => Err(format!("Error: no bridges: {}.", why(&error))),
            _ => Ok(()),
        }
    }
}
