//! Who waits for whom: requests on their way to lanes, and slots that are held back.
//!
//! ```text
//!            ┌ slot not held ─► queue of its owner's lane ─► pipeline ─► answered
//!  submit ───┤                                    ▲             │ refused, slot moved
//!            └ slot held ────► held[slot] ────────┘ ◄───────────┘
//! ```
//! A slot is *held* while a request of it was refused, or is in flight at a node that does not
//! own it any more. Its requests wait in `held` in their order; the first (those with `ASK`: all)
//! are sent as *probes*, and when these are answered the slot is released.

use super::job::Job;
use super::lane::News;
use super::line::Line;
use super::notice::{Refusal, Trouble};
use super::options::{Address, Wait};
use super::refusal::redirect;
use super::topology::Topology;
use super::troubles::{Kind, Troubles};
use super::{Inbox, Opened};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What both tracks share.
pub(super) struct World {
    pub(super) topology: Topology,
    pub(super) troubles: Troubles,
    pub(super) now: Instant,
    /// Somebody has reason to doubt the topology.
    pub(super) doubt: bool,
}

/// The requests that are in order with each other, or those aside.
pub(super) struct Track {
    inbox: Arc<Inbox>,
    wait: Option<Wait>,
    lines: BTreeMap<Address, Line>,
    held: BTreeMap<u16, Held>,
    /// Starts the task of a lane.
    open: Box<dyn FnMut(&Address) -> Opened + Send>,
}

/// A slot whose requests wait.
struct Held {
    jobs: VecDeque<Job>,
    /// What the last refusal was, and of which node.
    why: Option<(Refusal, Address)>,
    /// Where `ASK` sends those of `jobs` that are marked.
    ask: Option<Address>,
    /// So many are out.
    probes: usize,
    /// Not before.
    due: Instant,
}

/// Between attempts at a server that refuses; doubled each time up to the second.
const BACK_OFF_MS: (u64, u64) = (20, 1000);
/// So often a request follows a redirection at once. Then nodes disagree, and it takes time.
const HOPS: u32 = 3;

impl Track {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        wait: Option<Wait>,
        open: Box<dyn FnMut(&Address) -> Opened + Send>,
    ) -> Self {
        Self { inbox, wait, lines: BTreeMap::new(), held: BTreeMap::new(), open }
    }

    /// A new request.
    pub(super) fn submit(&mut self, job: Job, world: &World) {
        if !self.held.is_empty()
            && let Some(held) = self.held.get_mut(&job.slot())
        {
            let full = matches!(held.why, Some((Refusal::OutOfMemory, _)));
            if !(full && job.frees()) {
                held.jobs.push_back(job);
                return;
            }
        }
        match world.topology.owner(job.slot()) {
            Some(owner) => match self.lines.get_mut(owner) {
                Some(line) => line.push(job),
                None => Self::line(&mut self.lines, &mut self.open, owner).push(job),
            },
            None => Self::hold(&mut self.held, job.slot(), world.now).jobs.push_back(job),
        }
    }

    /// Something came from a lane.
    pub(super) fn hear(&mut self, node: &Address, id: u64, news: News, world: &mut World) {
        let Some(line) = self.lines.get_mut(node).filter(|line| line.id() == id) else {
            // There is no such line any more, but what it had is to be answered all the same.
            match news {
                News::Broken { sent, unsent, .. } => self.repeat(sent, unsent, world),
                News::Answered(jobs) => self.repeat(jobs, Vec::new(), world),
                _ => {}
            }
            return;
        };
        match news {
            News::Up => {
                line.up();
                world.troubles.end(node, Kind::Unreachable, world.now);
                world.troubles.end(node, Kind::Rejected, world.now);
            }
            News::Down(why) => {
                world.doubt = true;
                let slots = world.topology.slots(node);
                let kind = match why {
                    Trouble::Refused(..) => Kind::Rejected,
                    _ => Kind::Unreachable,
                };
                world.troubles.begin((node, kind), why, slots, world.now);
                if slots == 0 {
                    let jobs = line.take_queue();
                    self.put_back(jobs, world);
                }
            }
            News::Answered(jobs) => self.answered(node, jobs, world),
            News::Waited(have) => line.waited(have, self.wait, &self.inbox, world.now),
            News::Looked { offset, replicas } => {
                line.looked(offset, &replicas, self.wait, &self.inbox, world.now);
            }
            News::Broken { why, sent, unsent } => {
                world.doubt = true;
                let slots = world.topology.slots(node);
                let trouble = Trouble::Unreachable(why);
                world.troubles.begin((node, Kind::Unreachable), trouble, slots, world.now);
                self.broken(node, sent, unsent, world);
            }
        }
    }

    /// The slots have new owners: what waits for the old ones goes there.
    pub(super) fn reroute(&mut self, changed: &[u16], world: &mut World) {
        if changed.is_empty() {
            return;
        }
        let masters = world.topology.masters();
        let mut moving = Vec::new();
        for (node, line) in &mut self.lines {
            line.owned(masters.contains_key(node), world.now);
            for &slot in changed.iter().filter(|slot| line.flies(**slot)) {
                Self::hold(&mut self.held, slot, world.now);
            }
            moving.extend(line.take_moved(|slot| world.topology.owner(slot) == Some(node)));
        }
        for &slot in changed {
            if let Some(held) = self.held.get_mut(&slot) {
                held.due = world.now;
            }
        }
        for job in moving {
            self.submit(job, world);
        }
    }

    /// Sends what can be sent now. To be called after everything that happens, and often while
    /// [`Self::restless`].
    pub(super) fn turn(&mut self, world: &mut World) {
        self.settle(world);
        let mut lost = Vec::new();
        for (node, line) in &mut self.lines {
            line.tell(node, self.wait, world);
            world.doubt |= line.silent(world.now);
            line.pump(self.wait, world.now);
            if let Some(jobs) = line.fade(world.now) {
                lost.push((node.clone(), jobs));
            }
        }
        for (node, jobs) in lost {
            self.lines.remove(&node);
            world.troubles.replaced(world.now, |other, kind| {
                let lane = matches!(kind, Kind::Unreachable | Kind::Rejected | Kind::Replicas);
                *other == node && lane
            });
            self.repeat(jobs, Vec::new(), world);
        }
    }

    /// Whether something waits for time to pass.
    pub(super) fn restless(&self) -> bool {
        !self.held.is_empty() || self.lines.values().any(Line::restless)
    }

    /// Whether anything is out.
    pub(super) fn flying(&self) -> bool {
        self.lines.values().any(Line::flying)
    }

    /// Whether a slot waits because of this.
    pub(super) fn suffers(&self, node: &Address, kind: Refusal) -> bool {
        let why = (kind, node);
        let mut reasons = self.held.values().filter_map(|held| held.why.as_ref());
        reasons.any(|(kind, node)| (*kind, node) == why)
    }

    /// Makes sure there are connections to these nodes before they are needed.
    pub(super) fn connect<'a>(&mut self, nodes: impl Iterator<Item = &'a Address>) {
        for node in nodes {
            Self::line(&mut self.lines, &mut self.open, node);
        }
    }

    fn answered(&mut self, node: &Address, jobs: Vec<Job>, world: &mut World) {
        let Some(line) = self.lines.get_mut(node) else { return };
        line.landed();
        let mut refused = Vec::new();
        for mut job in jobs {
            if !job.complete() {
                refused.push(job);
                continue;
            }
            if job.probe {
                job.probe = false;
                thaw(&mut self.held, job.slot(), world.now);
            }
            if job.durable() && self.wait.is_some() && !line.is_alone() {
                line.unwaited(job);
            } else {
                self.inbox.finish(job);
            }
        }
        if !refused.is_empty() {
            self.refuse(node, refused, world);
        }
    }

    /// Holds the slots of these jobs, and what waits for them at this node.
    fn refuse(&mut self, node: &Address, jobs: Vec<Job>, world: &mut World) {
        for mut job in jobs.into_iter().rev() {
            let Some(refused) = job.refused().cloned() else { continue };
            let slot = job.slot();
            job.refusals += 1;
            job.asking = false;
            let held = Self::hold(&mut self.held, slot, world.now);
            held.probes -= usize::from(std::mem::take(&mut job.probe)).min(held.probes);
            held.due = world.now + back_off(job.refusals);
            match redirect(&refused.text) {
                Some((ask, host, port)) => {
                    let host = if host.is_empty() { &node.host } else { host };
                    let target = Address { host: host.to_owned(), port };
                    if job.refusals <= HOPS {
                        held.due = world.now;
                    }
                    if ask {
                        job.asking = true;
                        held.ask = Some(target);
                    } else {
                        world.topology.moved(slot, target);
                        world.doubt = true;
                    }
                }
                None => self.complain(node, &refused.text, refused.kind, world),
            }
            let held = Self::hold(&mut self.held, slot, world.now);
            held.why = Some((refused.kind, node.clone()));
            held.jobs.push_front(job);
        }
        let Some(line) = self.lines.get_mut(node) else { return };
        for job in line.take_held(|job| {
            self.held.get(&job.slot()).is_some_and(|held| {
                let full = matches!(held.why, Some((Refusal::OutOfMemory, _)));
                !(job.probe || full && job.frees())
            })
        }) {
            Self::hold(&mut self.held, job.slot(), world.now).jobs.push_back(job);
        }
    }

    fn complain(&mut self, node: &Address, text: &str, kind: Refusal, world: &mut World) {
        if kind == Refusal::NoFunction
            && let Some(line) = self.lines.get_mut(node)
        {
            line.reload();
        }
        // That is how slots move, and no trouble.
        if !matches!(kind, Refusal::Moved | Refusal::TryAgain) {
            let slots = world.topology.slots(node);
            let why = Trouble::Refused(kind, text.to_owned());
            world.troubles.begin((node, Kind::Refused(kind)), why, slots, world.now);
        }
        if matches!(kind, Refusal::ClusterDown | Refusal::Replica) {
            world.doubt = true;
        }
    }

    fn broken(&mut self, node: &Address, sent: Vec<Job>, unsent: Vec<Job>, world: &mut World) {
        let Some(line) = self.lines.get_mut(node) else { return };
        let mut unsure = line.broken();
        unsure.extend(sent);
        self.repeat(unsure, unsent, world);
    }

    /// What was answered is done; the rest is sent again, before everything that came later.
    fn repeat(&mut self, sent: Vec<Job>, unsent: Vec<Job>, world: &World) {
        let mut back = Vec::new();
        for mut job in sent {
            if job.complete() && !(job.durable() && self.wait.is_some()) {
                if job.probe {
                    thaw(&mut self.held, job.slot(), world.now);
                }
                self.inbox.finish(job);
            } else {
                job.ambiguous();
                back.push(job);
            }
        }
        back.extend(unsent);
        self.put_back(back, world);
    }

    /// To the front of where their slots wait, in their order.
    fn put_back(&mut self, jobs: Vec<Job>, world: &World) {
        for mut job in jobs.into_iter().rev() {
            let slot = job.slot();
            let probe = std::mem::take(&mut job.probe);
            job.asking = false;
            if let Some(held) = self.held.get_mut(&slot) {
                held.probes -= usize::from(probe).min(held.probes);
                held.jobs.push_front(job);
            } else if let Some(owner) = world.topology.owner(slot) {
                Self::line(&mut self.lines, &mut self.open, owner).push_front(job);
            } else {
                Self::hold(&mut self.held, slot, world.now).jobs.push_front(job);
            }
        }
    }

    /// Probes the slots that are due, and releases those that are served again.
    fn settle(&mut self, world: &mut World) {
        if self.held.is_empty() {
            return;
        }
        let mut released = Vec::new();
        for (&slot, held) in &mut self.held {
            let flies = self.lines.values().any(|line| line.flies(slot));
            if held.probes > 0 || held.due > world.now || flies {
                continue;
            }
            let Some(owner) = world.topology.owner(slot) else {
                held.due = world.now + Duration::from_millis(BACK_OFF_MS.0);
                world.doubt = true;
                continue;
            };
            let still = held
                .why
                .as_ref()
                .is_some_and(|(kind, node)| *kind != Refusal::Moved && node == owner);
            let asking = held.jobs.iter().take_while(|job| job.asking).count();
            let (target, count) = match &held.ask {
                Some(target) if asking > 0 => (target.clone(), asking),
                _ if still && !held.jobs.is_empty() => (owner.clone(), 1),
                _ => {
                    released.push(slot);
                    continue;
                }
            };
            let line = Self::line(&mut self.lines, &mut self.open, &target);
            for mut job in held.jobs.drain(..count) {
                job.probe = true;
                held.probes += 1;
                line.push(job);
            }
        }
        for slot in released {
            let jobs = self.held.remove(&slot).map(|held| held.jobs);
            for mut job in jobs.into_iter().flatten() {
                job.asking = false;
                self.submit(job, world);
            }
        }
    }

    fn hold(held: &mut BTreeMap<u16, Held>, slot: u16, now: Instant) -> &mut Held {
        held.entry(slot).or_insert_with(|| Held {
            jobs: VecDeque::new(),
            why: None,
            ask: None,
            probes: 0,
            due: now,
        })
    }

    fn line<'a>(
        lines: &'a mut BTreeMap<Address, Line>,
        open: &mut Box<dyn FnMut(&Address) -> Opened + Send>,
        node: &Address,
    ) -> &'a mut Line {
        lines.entry(node.clone()).or_insert_with(|| Line::new(open(node)))
    }
}

/// A probe of this slot was carried out: what waited for the same reason is worth a try.
fn thaw(held: &mut BTreeMap<u16, Held>, slot: u16, now: Instant) {
    let Some(this) = held.get_mut(&slot) else { return };
    this.probes = this.probes.saturating_sub(1);
    this.due = now;
    if let Some(why) = this.why.take() {
        for other in held.values_mut().filter(|other| other.why.as_ref() == Some(&why)) {
            other.due = now;
        }
    }
}

fn back_off(refusals: u32) -> Duration {
    let doubled = BACK_OFF_MS.0 << refusals.saturating_sub(1).min(10);
    Duration::from_millis(doubled.min(BACK_OFF_MS.1))
}
