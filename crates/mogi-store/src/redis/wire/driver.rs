//! The thread: takes requests in, hears from lanes and scouts, and lets both tracks go on.

use super::connect::Dialer;
use super::job::Job;
use super::lane::{LaneTask, News, Whose};
use super::notice::{Notice, Trouble};
use super::options::{Address, Options};
use super::scout::{self, Report};
use super::topology::{Topology, View};
use super::track::{Track, World};
use super::troubles::{Kind, Troubles};
use super::{Inbox, Opened};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

/// Runs everything below [`super::Cluster::send`].
pub(super) struct Driver {
    inbox: Arc<Inbox>,
    dialer: Arc<Dialer>,
    on_notice: Box<dyn FnMut(Notice) + Send>,
    ordered: Track,
    aside: Track,
    world: World,
    news: UnboundedReceiver<(Whose, News)>,
    reports: (UnboundedSender<Report>, UnboundedReceiver<Report>),
    /// A round of questions is out.
    scouting: bool,
    /// When the last round began.
    scouted: Option<Instant>,
    /// When a view as new as the topology, or newer, was last seen.
    confirmed: Instant,
    told: Option<(Vec<(Address, u16)>, usize)>,
}

/// While something is wrong, nodes are asked this often.
const ASK_OFTEN: Duration = Duration::from_millis(150);
/// And this often when nothing is.
const ASK_SELDOM: Duration = Duration::from_secs(30);
/// While something waits for time to pass.
const TICK: Duration = Duration::from_millis(10);
/// An older view is believed if for so long nobody knew of a newer one: the cluster was made anew.
const FORGET: Duration = Duration::from_secs(10);

impl Driver {
    /// # Errors
    /// If a file of the TLS options cannot be used, or there is no seed.
    pub(super) fn new(
        options: Options,
        inbox: Arc<Inbox>,
        on_notice: Box<dyn FnMut(Notice) + Send>,
    ) -> io::Result<Self> {
        if options.seeds.is_empty() {
            let why = "no Redis node is named";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let wait = options.wait.filter(|wait| wait.replicas > 0);
        let dialer = Arc::new(Dialer::new(options)?);
        let (news_sender, news) = unbounded_channel();
        let track = |aside| {
            let open = opener(Arc::clone(&dialer), news_sender.clone(), aside);
            Track::new(Arc::clone(&inbox), wait, open)
        };
        let now = Instant::now();
        let (ordered, aside) = (track(false), track(true));
        Ok(Self {
            inbox,
            dialer,
            on_notice,
            ordered,
            aside,
            world: World {
                topology: Topology::new(),
                troubles: Troubles::default(),
                now,
                doubt: true,
            },
            news,
            reports: unbounded_channel(),
            scouting: false,
            scouted: None,
            confirmed: now,
            told: None,
        })
    }

    /// Until the inbox is closed.
    pub(super) fn run(mut self) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        match builder.enable_all().build() {
            Ok(runtime) => runtime.block_on(self.drive()),
            Err(error) => {
                let node = self.dialer.options.seeds[0].clone();
                let why = Trouble::Unreachable(format!("no runtime: {error}"));
                (self.on_notice)(Notice::Degraded { node, slots: 0, why });
            }
        }
    }

    async fn drive(&mut self) {
        let inbox = Arc::clone(&self.inbox);
        let mut jobs = Vec::new();
        while inbox.take(&mut jobs) {
            self.world.now = Instant::now();
            for job in jobs.drain(..) {
                self.submit(job);
            }
            while let Ok((whose, news)) = self.news.try_recv() {
                self.hear(&whose, news);
            }
            while let Ok(report) = self.reports.1.try_recv() {
                self.learn(report);
            }
            self.scout();
            self.ordered.turn(&mut self.world);
            self.aside.turn(&mut self.world);
            self.tell();
            let pause = self.pause();
            tokio::select! {
                () = inbox.wake.notified() => {}
                news = self.news.recv() => {
                    if let Some((whose, news)) = news {
                        self.hear(&whose, news);
                    }
                }
                report = self.reports.1.recv() => {
                    if let Some(report) = report {
                        self.learn(report);
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    fn submit(&mut self, job: Job) {
        let track = if job.aside() { &mut self.aside } else { &mut self.ordered };
        track.submit(job, &self.world);
    }

    fn hear(&mut self, whose: &Whose, news: News) {
        self.world.now = Instant::now();
        let track = if whose.aside { &mut self.aside } else { &mut self.ordered };
        track.hear(&whose.node, whose.id, news, &mut self.world);
    }

    fn learn(&mut self, report: Report) {
        self.world.now = Instant::now();
        match report {
            Report::View(view) => self.consider(&view),
            Report::Nothing(node, why) => {
                // With a topology the lanes say what is wrong.
                if !self.world.topology.ready() {
                    let which = (&node, Kind::NoTopology);
                    self.world.troubles.begin(which, why, 0, self.world.now);
                }
            }
            Report::Over => self.scouting = false,
        }
    }

    fn consider(&mut self, view: &View) {
        let now = self.world.now;
        let topology = &mut self.world.topology;
        let known = topology.ready();
        let stale = view.epoch < topology.epoch() || view.ranges.is_empty();
        if known && stale && now.saturating_duration_since(self.confirmed) < FORGET {
            return;
        }
        self.confirmed = now;
        let changed = topology.apply(view);
        if !known {
            self.world.troubles.end_where(now, |_, kind| !matches!(kind, Kind::Replicas));
        }
        self.ordered.reroute(&changed, &mut self.world);
        self.aside.reroute(&changed, &mut self.world);
        let masters = self.world.topology.masters();
        self.ordered.connect(masters.keys());
        let told = (masters.into_iter().collect(), self.world.topology.replicas());
        if self.told.as_ref() != Some(&told) {
            let (masters, replicas) = told.clone();
            self.world.troubles.notices.push(Notice::Topology { masters, replicas });
            self.told = Some(told);
        }
    }

    /// Asks who has which slots, if it is time to.
    fn scout(&mut self) {
        let uneasy = self.uneasy();
        let every = if uneasy { ASK_OFTEN } else { ASK_SELDOM };
        let now = self.world.now;
        let recent = self.scouted.is_some_and(|at| now.saturating_duration_since(at) < every);
        if self.scouting || recent {
            return;
        }
        self.world.doubt = false;
        self.scouting = true;
        self.scouted = Some(now);
        let known = self.world.topology.known().iter();
        let seeds = self.dialer.options.seeds.iter();
        let mut nodes: Vec<Address> = known.chain(seeds).cloned().collect();
        nodes.sort();
        nodes.dedup();
        let report = self.reports.0.clone();
        tokio::spawn(scout::round(Arc::clone(&self.dialer), nodes, report));
    }

    fn uneasy(&self) -> bool {
        self.world.doubt || !self.world.topology.ready() || !self.world.troubles.is_empty()
    }

    /// Hands notices over, and ends those whose reason is gone.
    fn tell(&mut self) {
        let (ordered, aside) = (&self.ordered, &self.aside);
        if self.world.topology.ready() {
            self.world.troubles.end_where(self.world.now, |node, kind| match kind {
                Kind::Refused(kind) => !ordered.suffers(node, kind) && !aside.suffers(node, kind),
                _ => false,
            });
        }
        for notice in self.world.troubles.notices.drain(..) {
            (self.on_notice)(notice);
        }
    }

    fn pause(&self) -> Duration {
        if self.ordered.restless() || self.aside.restless() {
            TICK
        } else if self.uneasy() {
            ASK_OFTEN
        } else {
            ASK_SELDOM
        }
    }
}

/// What starts the task of a lane.
fn opener(
    dialer: Arc<Dialer>,
    news: UnboundedSender<(Whose, News)>,
    aside: bool,
) -> Box<dyn FnMut(&Address) -> Opened + Send> {
    let mut last = 0;
    Box::new(move |node| {
        last += 1;
        let (orders, receiver) = unbounded_channel();
        let kill = Arc::new(Notify::new());
        let task = LaneTask {
            whose: Whose { aside, node: Arc::new(node.clone()), id: last },
            dialer: Arc::clone(&dialer),
            orders: receiver,
            news: news.clone(),
            kill: Arc::clone(&kill),
        };
        tokio::spawn(task.run());
        Opened { id: last, orders, kill }
    })
}
