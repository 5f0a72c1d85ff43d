//! All is quiet: what has to be true now.

use crate::message::id_of;
use crate::plan::LEASE_MS;
use crate::trace::note;
use crate::world::World;
use mogi_codec::QoS;
use std::collections::BTreeMap;

impl World {
    pub(crate) fn check_at_rest(&mut self) {
        for client in 0..self.clients.len() {
            assert!(self.is_on(client), "client {client} does not get in");
            let me = &self.clients[client];
            assert!(me.flows.is_empty(), "client {client} waits with {:?}", me.flows);
            assert!(me.questions.is_empty(), "client {client} waits: {:?}", me.questions);
            assert!(me.held.is_empty(), "client {client} was not released {:?}", me.held);
            if me.lasting {
                let missing = self.oracle.missing(client);
                assert!(missing.is_empty(), "client {client} did not get {missing:?}");
            }
        }
        self.check_presence();
        self.check_store();
        self.check_retained();
    }

    /// Each client is connected once, where it thinks it is; all sites know all sessions.
    fn check_presence(&self) {
        let mut online: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, site) in self.sites.iter().enumerate() {
            for (client, _) in site.workers.iter().flat_map(|worker| worker.connected()) {
                online.entry(client).or_default().push(at);
            }
        }
        for client in &self.clients {
            let at = online.remove(&*client.name).unwrap_or_default();
            assert_eq!(at, [client.site], "{} is online there", client.name);
        }
        assert!(online.is_empty(), "{online:?} are online");
        let sessions = self.store.all().filter(|(_, kept)| kept.session.is_some()).count();
        for (at, site) in self.sites.iter().enumerate() {
            let cluster = site.cluster();
            let known = cluster.shadows() + cluster.log().residents();
            let names = self.clients.iter().map(|client| &*client.name);
            let shadows: Vec<&str> = names.filter(|name| cluster.has_shadow(name)).collect();
            assert_eq!(known, sessions, "sessions site {at} knows, {shadows:?} among them");
            assert_eq!(cluster.homeless(), Vec::<std::sync::Arc<str>>::new(), "at {at}");
        }
    }

    fn check_store(&self) {
        assert!(self.store.is_idle(), "requests are left");
        for (at, site) in self.sites.iter().enumerate() {
            let pending = site.pending.keys().collect::<Vec<_>>();
            assert!(pending.is_empty(), "site {at} waits for {pending:?}");
            assert!(site.doors.is_empty(), "site {at}: {:?}", site.doors);
        }
        for (key, kept) in self.store.all() {
            let Some(session) = &kept.session else { continue };
            assert!(session.entries.is_empty(), "{key} has {:?}", session.entries);
            assert!(session.received.is_empty(), "{key} has {:?}", session.received);
        }
    }

    fn check_retained(&self) {
        let mut stored = BTreeMap::new();
        for (key, kept) in self.store.all() {
            if let (Some(topic), (version, Some(message))) =
                (key.strip_prefix("t:"), &kept.retained)
            {
                stored.insert(topic.to_owned(), (id_of(message.payload()), *version));
            }
        }
        for (at, site) in self.sites.iter().enumerate() {
            let mut here = BTreeMap::new();
            site.node.retained.changed_since(
                0,
                &mogi_core::Rights::default(),
                |change, version| {
                    if let Ok(message) = change {
                        here.insert(
                            message.topic().to_owned(),
                            (id_of(message.payload()), version),
                        );
                    }
                },
            );
            // A message nobody acknowledged is promised to nobody: a master that failed may have
            // taken it along after a site read it there, and its publisher's site be gone. What was
            // acknowledged is the same everywhere, and so is everything while no master fails.
            let excused = |topic: &String| {
                let known = here.get(topic);
                let state = known.and_then(|(id, _)| *id);
                known != stored.get(topic)
                    && self.store.failovers > 0
                    && self.may_lack(topic, state)
            };
            let excused: Vec<&String> =
                here.keys().chain(stored.keys()).filter(|topic| excused(topic)).collect();
            let rest = |all: &BTreeMap<String, _>| {
                let rest = all.iter().filter(|(topic, _)| !excused.contains(topic));
                rest.map(|(topic, it)| (topic.clone(), *it)).collect::<BTreeMap<_, (_, u64)>>()
            };
            let (here, stored) = (rest(&here), rest(&stored));
            assert_eq!(here, stored, "retained at site {at} and in the store");
        }
        for topic in self.oracle.retaining.keys() {
            let kept = stored.get(topic).and_then(|(id, _)| *id);
            let choices = self.oracle.retained_choices(topic);
            assert!(choices.contains(&kept), "{topic} retains {kept:?}, not one of {choices:?}");
        }
    }

    /// Whether the store may be without that state of a topic, which a site has: nobody was told
    /// that it is there.
    fn may_lack(&self, topic: &str, state: Option<u32>) -> bool {
        self.oracle.unsettled_choices(topic).contains(&state)
    }

    /// Nothing goes wrong now: whoever is subscribed gets everything, at any site, at once.
    pub(crate) fn check_probe(&mut self) {
        note(|| "probe".to_owned());
        let mut sent = Vec::new();
        for client in 0..self.clients.len() {
            let own = format!("r/{client}");
            for topic in ["t/0", "t/1", "t/2", "u/0", &own] {
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    if qos == QoS::AtLeastOnce || client < 2 {
                        sent.push(self.publish(client, topic, qos, false));
                    }
                }
            }
        }
        self.settle("probe");
        for (client, subject) in self.oracle.subjects.iter().enumerate() {
            for id in &sent {
                let topic = &self.oracle.messages[*id as usize].topic;
                let there = subject.subs.iter().any(|sub| {
                    sub.parts().1.is_none()
                        && sub.matches(topic)
                        && sub.sure_until == crate::oracle::OPEN
                        && sub.acked_at.is_some()
                });
                let copies = subject.got.get(id).copied().unwrap_or(0);
                // A SUBSCRIBE may have arrived that nobody answered.
                let maybe = subject.ever.iter().any(|it| mogi_codec::topic::matches(it, topic));
                let fine = copies == usize::from(there) || copies <= usize::from(maybe) && !there;
                assert!(fine, "client {client} gets {id} on {topic} {copies} times");
            }
        }
        self.check_at_rest();
    }

    /// Everybody leaves, and nothing may be left.
    pub(crate) fn clean_up(&mut self) {
        for client in 1..self.clients.len() {
            self.disconnect(client);
        }
        self.settle("goodbyes");
        for _ in 0..4 {
            self.now_ms += LEASE_MS / 2;
            self.settle("time passes");
        }
        self.check_wills();
        for client in 1..self.clients.len() {
            let site = self.rng.below(self.sites.len());
            self.clients[client].lasting = false;
            self.clients[client].known = false;
            self.connect(client, site, true);
        }
        self.settle("clean connects");
        for client in 1..self.clients.len() {
            self.disconnect(client);
        }
        self.clients[0].lasting = false;
        self.connect(0, 0, true);
        self.settle("watcher");
        let topics: Vec<String> = self.oracle.retaining.keys().cloned().collect();
        for topic in topics {
            self.publish(0, &topic, QoS::AtLeastOnce, true);
        }
        self.settle("retained messages are cleared");
        self.disconnect(0);
        self.settle("watcher leaves");
        self.check_empty();
    }

    fn check_empty(&self) {
        for (at, site) in self.sites.iter().enumerate() {
            let sessions = site.node.sessions.load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(sessions, 0, "sessions are left at {at}");
            let mut filters = Vec::new();
            site.node.interest.for_each(|filter| filters.push(filter.to_owned()));
            assert!(filters.is_empty(), "filters are left at {at}: {filters:?}");
            let cluster = site.cluster();
            let left = (cluster.shadows(), cluster.log().residents(), site.node.retained.len());
            assert_eq!(left, (0, 0, 0), "shadows, residents and retained are left at {at}");
        }
        for (key, kept) in self.store.all() {
            assert!(kept.session.is_none(), "{key} has {:?}", kept.session);
            assert!(kept.will.is_none(), "{key} has {:?}", kept.will);
            assert!(kept.retained.1.is_none(), "{key} has {:?}", kept.retained);
        }
    }
}
