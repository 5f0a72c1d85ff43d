//! What waits for one node, what is out there, and what its replicas still lack.

use super::lane::{After, Have, Order, Replica};
use super::notice::{Notice, Trouble};
use super::options::{Address, Depth, Wait};
use super::track::World;
use super::troubles::Kind;
use super::{Inbox, Job, Opened};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The driver's side of a lane.
pub(super) struct Line {
    lane: Opened,
    queue: VecDeque<Job>,
    /// Connected, and nothing is out.
    ready: bool,
    /// A pipeline is out, or the question about replicas behind it.
    out: bool,
    /// The slots of what is out; later requests of them must not go elsewhere.
    flying: SlotSet,
    /// Carried out by the master; replicas are waited for.
    unwaited: VecDeque<Job>,
    lagging: Option<Lagging>,
    /// It was said that replicas lag.
    told: bool,
    /// Where only a replica that is there is waited for: whether there is one.
    mates: Mates,
    /// There was one; and it was said that there is none any more.
    had_mates: bool,
    told_alone: bool,
    /// Since when something was carried out and nobody was asked who has it; only where disks
    /// are waited for.
    unasked: Option<Instant>,
    reload: bool,
    /// When the pipeline was sent.
    sent: Option<Instant>,
    /// The node has lost all its slots.
    fading: Option<Instant>,
    killed: bool,
}

/// Replicas lack something for longer than a connection can wait for them.
struct Lagging {
    since: Instant,
    have: Have,
    /// When to look again.
    look: Instant,
    /// Until then nothing new is sent, so that a sync can catch up; and how long that was, or will
    /// be the next time. Only where disks are waited for.
    holds: (Instant, Duration),
    /// Enough replicas are alive for waiting to make sense.
    alive: bool,
    /// Where the master's stream of changes ended, and how many of `unwaited` lie before that
    /// and behind the mark before.
    marks: VecDeque<(u64, usize)>,
}

/// One pipeline holds so much at most; one request may be larger.
const PIPELINE_BYTES: usize = 1 << 20;
/// As commands.
const PIPELINE_COMMANDS: usize = 4096;
/// A connection waits so long for replicas. Nothing else goes over it meanwhile.
const WAIT_MS: u64 = 100;
/// And so long for disks, which cannot be asked otherwise. They are synced once a second, or at
/// once.
const SYNC_MS: u64 = 350;
/// While there is more to carry out disks are not waited for, so that one sync is for all of it;
/// but so long at most.
const GATHER: Duration = Duration::from_millis(100);
/// A disk that is written to all the time is never synced as far as the last change. So nothing is
/// sent for a while: a second, in which it is synced once, and as long as that takes. Longer each
/// time, and then again from time to time, as it may be something else that is wrong.
const HOLD: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_secs(6));
/// After so long without an answer others are asked who has the slots.
const SILENCE: Duration = Duration::from_millis(400);
/// A master without replicas is asked so often whether it has one.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between looks at replicas that lack something.
const LOOK: Duration = Duration::from_millis(50);
/// A replica reports every second unless it is asked, as `WAIT` does.
const ALIVE_S: u64 = 1;
/// A node that has lost its slots still gets so long to answer what is out.
const GRACE: Duration = Duration::from_millis(300);

/// Whether a master has replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mates {
    /// It was not asked on this connection.
    Unknown,
    /// It said then that it has none.
    None(Instant),
    Some,
}

impl Lagging {
    fn new(have: Have, now: Instant) -> Self {
        Self {
            since: now,
            have,
            look: now,
            holds: (now + HOLD.0, HOLD.0),
            alive: false,
            marks: VecDeque::new(),
        }
    }
}

impl Line {
    pub(super) fn new(lane: Opened) -> Self {
        Self {
            lane,
            queue: VecDeque::new(),
            ready: false,
            out: false,
            flying: SlotSet::default(),
            unwaited: VecDeque::new(),
            lagging: None,
            told: false,
            mates: Mates::Unknown,
            had_mates: false,
            told_alone: false,
            unasked: None,
            reload: false,
            sent: None,
            fading: None,
            killed: false,
        }
    }

    pub(super) const fn id(&self) -> u64 {
        self.lane.id
    }

    pub(super) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    pub(super) fn push_front(&mut self, job: Job) {
        self.queue.push_front(job);
    }

    pub(super) fn up(&mut self) {
        self.ready = true;
    }

    /// The pipeline is back.
    pub(super) fn landed(&mut self) {
        self.flying.clear();
        if self.fading.is_some() {
            self.mark_unwaited();
        }
        if !self.out {
            self.rest();
        }
    }

    /// The pipeline is back, and this one of it has to wait for replicas.
    pub(super) fn unwaited(&mut self, job: Job) {
        if self.fading.is_some() {
            self.flying.insert(job.slot());
        }
        self.unwaited.push_back(job);
    }

    /// The connection has ended; what was carried out and is not with the replicas.
    pub(super) fn broken(&mut self) -> Vec<Job> {
        self.ready = false;
        self.out = false;
        self.sent = None;
        self.unasked = None;
        self.mates = Mates::Unknown;
        self.flying.clear();
        if let Some(lagging) = &mut self.lagging {
            lagging.marks.clear();
        }
        self.unwaited.drain(..).collect()
    }

    /// They have everything.
    pub(super) fn waited(&mut self, have: Have, wait: Option<Wait>, inbox: &Inbox, now: Instant) {
        self.rest();
        let enough = |wait: Wait| have.replicas >= wait.replicas && have.master >= masters(wait);
        if wait.is_none_or(enough) {
            self.unwaited.drain(..).for_each(|job| inbox.finish(job));
            self.lagging = None;
        } else {
            let lagging = self.lagging.get_or_insert_with(|| Lagging::new(have.clone(), now));
            lagging.have = have;
            lagging.look = now + LOOK;
            lagging.alive = false;
        }
        self.mark_fading();
    }

    /// The master has written as far as `offset`, and each replica has it as far as that.
    pub(super) fn looked(
        &mut self,
        offset: u64,
        replicas: &[Replica],
        wait: Option<Wait>,
        inbox: &Inbox,
        now: Instant,
    ) {
        self.rest();
        let mut met = false;
        if wait.is_some_and(|wait| wait.if_any) {
            met = self.mates == Mates::Unknown;
            self.mates = if replicas.is_empty() { Mates::None(now) } else { Mates::Some };
        }
        if self.is_alone() {
            // Nobody else could have what was carried out before it was asked.
            self.unwaited.drain(..).for_each(|job| inbox.finish(job));
            self.lagging = None;
            return self.mark_fading();
        }
        if self.lagging.is_none() && !self.unwaited.is_empty() {
            // It was not known whether there is one.
            self.lagging = Some(Lagging::new(Have { master: 1, replicas: 0, said: None }, now));
        }
        let want = wait.map_or(0, |wait| wait.replicas);
        let count = |is: &dyn Fn(&&Replica) -> bool| replicas.iter().filter(is).count() as u32;
        let have = |offset: u64| count(&|replica| replica.offset >= offset);
        let Some(lagging) = &mut self.lagging else { return };
        let marked: usize = lagging.marks.iter().map(|mark| mark.1).sum();
        let fresh = self.unwaited.len().saturating_sub(marked);
        if fresh > 0 {
            lagging.marks.push_back((offset, fresh));
        }
        // Who was met just now is waited for at once.
        lagging.look = if met { now } else { now + LOOK };
        lagging.alive = count(&|replica| replica.lag_s <= ALIVE_S) >= want;
        while let Some(&(offset, count)) = lagging.marks.front() {
            lagging.have.replicas = have(offset);
            if lagging.have.replicas < want {
                break;
            }
            lagging.marks.pop_front();
            let count = count.min(self.unwaited.len());
            self.unwaited.drain(..count).for_each(|job| inbox.finish(job));
        }
        if lagging.marks.is_empty() && have(offset) >= want {
            self.lagging = None;
        }
        self.mark_fading();
    }

    /// Whether the node owns slots. One that has lost them all has to come to an end.
    pub(super) fn owned(&mut self, owner: bool, now: Instant) {
        if owner {
            self.fading = None;
        } else if self.fading.is_none() {
            self.fading = Some(now);
            self.mark_unwaited();
        }
    }

    /// Whether a request of this slot is out.
    pub(super) const fn flies(&self, slot: u16) -> bool {
        self.flying.contains(slot)
    }

    /// Functions are missing.
    pub(super) fn reload(&mut self) {
        self.reload = true;
    }

    /// Takes all that is not out.
    pub(super) fn take_queue(&mut self) -> Vec<Job> {
        self.queue.drain(..).collect()
    }

    /// Takes what is another node's now. Probes go where they were told to.
    pub(super) fn take_moved(&mut self, stays: impl Fn(u16) -> bool) -> Vec<Job> {
        self.take_held(|job| !job.probe && !stays(job.slot()))
    }

    /// Takes what `goes`.
    pub(super) fn take_held(&mut self, goes: impl Fn(&Job) -> bool) -> Vec<Job> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.queue.drain(..).partition(goes);
        self.queue = kept.into();
        gone
    }

    /// Says whether replicas lag. That they do not is said by whom it was said of only: the node's
    /// line of the other track waits for no replicas, and knows nothing of them.
    pub(super) fn tell(&mut self, node: &Address, wait: Option<Wait>, world: &mut World) {
        self.tell_alone(node, world);
        match (&self.lagging, wait) {
            (Some(lagging), Some(wait))
                if world.now.saturating_duration_since(lagging.since) >= wait.timeout =>
            {
                let why = lacking(&lagging.have, wait);
                let slots = world.topology.slots(node);
                world.troubles.begin((node, Kind::Replicas), why, slots, world.now);
                self.told = true;
            }
            (Some(_), Some(_)) => {}
            _ if std::mem::take(&mut self.told) => {
                world.troubles.end(node, Kind::Replicas, world.now);
            }
            _ => {}
        }
    }

    /// Says when the last replica is gone, and when there is one again.
    fn tell_alone(&mut self, node: &Address, world: &mut World) {
        let alone = match self.mates {
            Mates::Unknown => return,
            Mates::None(_) => self.had_mates,
            Mates::Some => {
                self.had_mates = true;
                false
            }
        };
        if std::mem::replace(&mut self.told_alone, alone) != alone {
            world.troubles.notices.push(Notice::Alone { node: node.clone(), alone });
        }
    }

    /// Whether nobody is waited for, as there is nobody.
    pub(super) const fn is_alone(&self) -> bool {
        matches!(self.mates, Mates::None(_))
    }

    /// What to ask behind the next pipeline where only a replica that is there is waited for;
    /// `None`: as always.
    fn ask_for_mates(&self, durable: bool, now: Instant) -> Option<After> {
        let look = match self.mates {
            Mates::Some => return None,
            Mates::Unknown => durable || self.lagging.is_some(),
            Mates::None(at) => durable && now.saturating_duration_since(at) >= ASK_AGAIN,
        };
        Some(if look { After::Look { needed: false } } else { After::Nothing })
    }

    /// Sends the next pipeline if there is one and nothing is out.
    pub(super) fn pump(&mut self, wait: Option<Wait>, now: Instant) {
        let look = self.lagging.as_ref().is_some_and(|lagging| lagging.look <= now);
        let owing = self.unasked.is_some() && self.lagging.is_none();
        if !self.ready || (self.queue.is_empty() && !look && !owing) {
            return;
        }
        let holds = wait.is_some_and(|wait| wait.depth != Depth::Memory) && self.holds(now);
        if holds && !look {
            return;
        }
        let (mut bytes, mut commands) = (0, 0);
        let mut jobs = Vec::new();
        let mut durable = false;
        while let Some(job) = self.queue.front().filter(|_| !holds) {
            bytes += job.wire_size();
            commands += job.commands();
            let full = bytes > PIPELINE_BYTES || commands > PIPELINE_COMMANDS;
            if full && !jobs.is_empty() {
                break;
            }
            let Some(job) = self.queue.pop_front() else { break };
            durable |= job.durable();
            self.flying.insert(job.slot());
            jobs.push(job);
        }
        let after = self.after(wait, durable || self.unasked.is_some(), holds, now);
        self.out = after != After::Nothing;
        self.ready = false;
        self.sent = Some(now);
        let load = std::mem::take(&mut self.reload);
        // The task has ended only if everything ends.
        drop(self.lane.orders.send(Order { jobs, after, load }));
    }

    /// What to ask behind a pipeline.
    fn after(&mut self, wait: Option<Wait>, durable: bool, holds: bool, now: Instant) -> After {
        if let Some(Wait { if_any: true, .. }) = wait
            && let Some(after) = self.ask_for_mates(durable, now)
        {
            return after;
        }
        match wait {
            Some(Wait { replicas, depth: Depth::Disk { master }, .. })
                if durable || self.lagging.is_some() =>
            {
                let since = *self.unasked.get_or_insert(now);
                let gathers = now.saturating_duration_since(since) < GATHER;
                if gathers && !self.queue.is_empty() && !holds {
                    After::Nothing
                } else {
                    self.unasked = None;
                    After::Sync { master: master.into(), replicas, timeout_ms: SYNC_MS }
                }
            }
            Some(Wait { depth: Depth::Disk { .. }, .. }) => After::Nothing,
            Some(wait) if self.lagging.as_ref().is_some_and(|it| !it.alive) => {
                After::Look { needed: !wait.if_any }
            }
            Some(wait) if durable || self.lagging.is_some() => After::Wait {
                replicas: wait.replicas,
                timeout_ms: (wait.timeout.as_millis() as u64).clamp(1, WAIT_MS),
            },
            _ => After::Nothing,
        }
    }

    /// Whether nothing new is sent until disks have what was sent before.
    fn holds(&mut self, now: Instant) -> bool {
        let Some(Lagging { holds: (until, length), .. }) = &mut self.lagging else {
            return false;
        };
        if now < *until {
            return true;
        }
        *length = (*length * 2).min(HOLD.1);
        *until = now + *length;
        false
    }

    /// Whether a pipeline is out.
    pub(super) const fn flying(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether the node has not answered for so long that others may have replaced it.
    pub(super) fn silent(&self, now: Instant) -> bool {
        self.sent.is_some_and(|sent| now.saturating_duration_since(sent) > SILENCE)
    }

    /// Whether something waits for time to pass.
    pub(super) fn restless(&self) -> bool {
        self.lagging.is_some() || self.fading.is_some()
    }

    /// Brings a line without slots to its end; what is left of it when it is over.
    pub(super) fn fade(&mut self, now: Instant) -> Option<Vec<Job>> {
        let since = self.fading?;
        let waiting = !self.unwaited.is_empty() || !self.queue.is_empty();
        let flying = !self.ready && !self.flying.is_empty();
        if !flying && !waiting && !self.out {
            return Some(Vec::new());
        }
        if now.saturating_duration_since(since) < GRACE || !self.queue.is_empty() {
            return None;
        }
        if flying || self.out {
            if !std::mem::replace(&mut self.killed, true) {
                self.lane.kill.notify_one();
            }
            return None;
        }
        Some(self.unwaited.drain(..).collect())
    }

    /// Nothing is out any more, and the connection is well.
    fn rest(&mut self) {
        self.out = false;
        self.ready = true;
        self.sent = None;
    }

    fn mark_fading(&mut self) {
        if self.fading.is_some() {
            self.flying.clear();
            self.mark_unwaited();
        }
    }

    /// What may have to be repeated elsewhere must not be overtaken there.
    fn mark_unwaited(&mut self) {
        for job in &self.unwaited {
            self.flying.insert(job.slot());
        }
    }
}

/// How many masters have to have what is durable: none but the node itself.
fn masters(wait: Wait) -> u32 {
    u32::from(wait.depth == Depth::Disk { master: true })
}

fn lacking(have: &Have, wait: Wait) -> Trouble {
    if wait.depth == Depth::Memory {
        return Trouble::Replicas { have: have.replicas, want: wait.replicas };
    }
    let want = (masters(wait), wait.replicas);
    let have_both = (have.master.min(want.0), have.replicas);
    Trouble::Unsynced { have: have_both, want, said: have.said.clone() }
}

/// A set of slots.
struct SlotSet {
    bits: Box<[u64; 256]>,
    empty: bool,
}

impl SlotSet {
    fn insert(&mut self, slot: u16) {
        if let Some(word) = self.bits.get_mut(usize::from(slot >> 6)) {
            *word |= 1 << (slot & 63);
            self.empty = false;
        }
    }

    const fn contains(&self, slot: u16) -> bool {
        let word = (slot >> 6) as usize;
        word < 256 && self.bits[word] & (1 << (slot & 63)) != 0
    }

    fn clear(&mut self) {
        if !self.empty {
            self.bits.fill(0);
            self.empty = true;
        }
    }

    const fn is_empty(&self) -> bool {
        self.empty
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self { bits: Box::new([0; 256]), empty: true }
    }
}
