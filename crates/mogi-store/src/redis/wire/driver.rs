//! The thread: takes requests in, hears from lanes and scouts, and lets both tracks go on.

use super::connect::Dialer;
use super::job::Job;
use super::lane::{LaneTask, News, Whose};
use super::notice::{Notice, Trouble};
use super::options::{Address, Options, Wait};
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
    /// Rounds so far, and those since something was uneasy.
    rounds: (usize, u32),
    /// An older view than the topology, and for how many rounds nobody has had a newer one.
    older: (Option<View>, u32),
    /// The masters last told of, and how many replicas they had.
    told: (Vec<Address>, usize),
}

/// While something is wrong, nodes are asked this often.
const ASK_OFTEN: Duration = Duration::from_millis(150);
/// And this often when an election should long be over.
const ASK_LATER: Duration = Duration::from_millis(500);
/// So many rounds an election may take.
const ELECTION: u32 = 200;
/// And this often when nothing is wrong.
const ASK_SELDOM: Duration = Duration::from_secs(30);
/// While something waits for time to pass.
const TICK: Duration = Duration::from_millis(10);
/// An older view is believed after so many rounds without a newer one: the cluster was made anew.
const FORGET: u32 = 20;

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
        let wait = options.wait.filter(Wait::is_any);
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
            rounds: (0, 0),
            older: (None, 0),
            told: (Vec::new(), 0),
        })
    }

    /// Until the inbox is closed.
    pub(super) fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.inbox));
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
            Report::View(view) => self.consider(view),
            Report::Nothing(node, why) => {
                // With a topology the lanes say what is wrong.
                if !self.world.topology.ready() {
                    let which = (&node, Kind::NoTopology);
                    self.world.troubles.begin(which, why, 0, self.world.now);
                }
            }
            Report::Over => {
                self.scouting = false;
                self.older.1 += u32::from(self.older.0.is_some());
                if self.older.1 >= FORGET
                    && let Some(view) = self.older.0.take()
                {
                    self.believe(&view);
                }
            }
        }
    }

    fn consider(&mut self, view: View) {
        let topology = &self.world.topology;
        let stale = view.epoch < topology.epoch() || view.ranges.is_empty();
        if topology.ready() && stale {
            self.older.0 = Some(view);
        } else {
            self.believe(&view);
        }
    }

    fn believe(&mut self, view: &View) {
        self.older = (None, 0);
        let first = !self.world.topology.ready();
        let changed = self.world.topology.apply(view);
        if first {
            let all = |_: &Address, kind: Kind| kind == Kind::NoTopology;
            self.world.troubles.end_where(self.world.now, all);
        }
        self.ordered.reroute(&changed, &mut self.world);
        self.aside.reroute(&changed, &mut self.world);
        let masters = self.world.topology.masters();
        self.ordered.connect(masters.keys());
        let replicas = self.world.topology.replicas();
        if !self.told.0.iter().eq(masters.keys()) || self.told.1 != replicas {
            self.told = (masters.keys().cloned().collect(), replicas);
            let notice = Notice::Topology { masters: masters.into_iter().collect(), replicas };
            self.world.troubles.notices.push(notice);
        }
    }

    /// Asks who has which slots, if it is time to.
    fn scout(&mut self) {
        let every = self.every();
        let now = self.world.now;
        let recent = self.scouted.is_some_and(|at| now.saturating_duration_since(at) < every);
        if self.scouting || recent {
            return;
        }
        self.rounds = (self.rounds.0 + 1, if self.uneasy() { self.rounds.1 + 1 } else { 0 });
        self.world.doubt = false;
        self.scouting = true;
        self.scouted = Some(now);
        let known = self.world.topology.known().iter();
        let seeds = self.dialer.options.seeds.iter();
        let mut nodes: Vec<Address> = known.chain(seeds).cloned().collect();
        nodes.sort();
        nodes.dedup();
        // Of very many nodes others are asked each time.
        if nodes.len() > scout::AT_ONCE {
            let first = self.rounds.0 * scout::AT_ONCE % nodes.len();
            nodes.rotate_left(first);
        }
        let report = self.reports.0.clone();
        tokio::spawn(scout::round(Arc::clone(&self.dialer), nodes, report));
    }

    fn uneasy(&self) -> bool {
        self.world.doubt || !self.world.topology.ready() || self.world.troubles.of_topology()
    }

    fn every(&self) -> Duration {
        match self.uneasy() {
            false => ASK_SELDOM,
            true if self.rounds.1 < ELECTION => ASK_OFTEN,
            true => ASK_LATER,
        }
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
        } else if self.ordered.flying() || self.aside.flying() {
            self.every().min(ASK_LATER)
        } else {
            self.every()
        }
    }
}

/// However the thread ends, what is sent later gets an answer.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
        let mut unheard = Vec::new();
        self.0.take(&mut unheard);
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
