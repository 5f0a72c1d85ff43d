//! What kind of storm a seed makes.

use crate::rng::Rng;
use mogi_core::CoreConfig;

/// Chances are per 10,000 steps.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) sites: usize,
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    /// Clients hop to another site.
    pub(crate) hops: usize,
    pub(crate) crashes: usize,
    pub(crate) hangs: usize,
    pub(crate) cuts: usize,
    pub(crate) failovers: usize,
    /// Something is slow for a while.
    pub(crate) lags: usize,
    /// The most steps it is.
    pub(crate) lag_steps: usize,
    /// One node fails at a time: all others serve meanwhile, and it is back before the next does.
    pub(crate) singly: bool,
    /// Weights: clients, sockets, turns, store, links, time.
    pub(crate) weights: [usize; 6],
    pub(crate) pace_ms: usize,
    pub(crate) retained: bool,
    pub(crate) shared: bool,
    pub(crate) wills: bool,
    pub(crate) expiry: bool,
    /// Everything is published and subscribed to with QoS 2.
    pub(crate) exact: bool,
    pub(crate) core: CoreConfig,
}

/// How long a lease lasts, in milliseconds.
pub(crate) const LEASE_MS: u64 = 3000;

/// What goes wrong and what clients do, unless `SIM_ONLY` names something else.
const USUAL: &str = "hops crashes hangs cuts failovers lags singly shared retained wills";

/// What of all that storms may have.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    /// What goes wrong and what clients do.
    pub(crate) only: String,
    /// How often, as in `crashes=200 hops=50`; what is not named is as the seed says.
    pub(crate) more: String,
}

impl Storm {
    pub(crate) fn of(only: &str, more: &str) -> Self {
        Self { only: only.to_owned(), more: more.to_owned() }
    }

    /// What `SIM_ONLY` and `SIM_MORE` ask for.
    pub(crate) fn asked() -> Self {
        let named = |name: &str| std::env::var(name).ok();
        Self {
            only: named("SIM_ONLY").unwrap_or_else(|| USUAL.to_owned()),
            more: named("SIM_MORE").unwrap_or_default(),
        }
    }
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng, storm: &Storm) -> Self {
        let mut core =
            CoreConfig { durable: true, max_queued_messages: 0, ..CoreConfig::default() };
        core.max_inflight_messages = *rng.pick(&[1, 3, 20, 20]);
        core.queue_window_messages = *rng.pick(&[2, 5, 1000]);
        core.log_mask = 0;
        let often = |rng: &mut Rng, most: usize| match rng.percent(50) {
            true => rng.range(1, most),
            false => 0,
        };
        let mut weights = [0; 6];
        weights.iter_mut().for_each(|weight| *weight = rng.range(1, 8));
        weights[5] = rng.range(1, 2);
        let mut plan = Self {
            sites: rng.range(2, 4),
            workers: rng.range(1, 3),
            clients: rng.range(2, 6),
            steps: rng.range(500, 3000),
            hops: often(rng, 300),
            crashes: often(rng, 50),
            hangs: often(rng, 50),
            cuts: often(rng, 150),
            failovers: often(rng, 100),
            lags: 0,
            lag_steps: 400,
            singly: false,
            weights,
            pace_ms: *rng.pick(&[3, 50, 500]),
            retained: rng.percent(50),
            shared: rng.percent(30),
            wills: rng.percent(40),
            expiry: rng.percent(30),
            exact: false,
            core,
        };
        // With a copy, so that storms without lags stay as they are.
        let mut apart = rng.clone();
        plan.lags = often(&mut apart, 60);
        plan.singly = apart.percent(50);
        plan.only(&storm.only);
        if plan.singly {
            // It takes a while until all are there again.
            plan.steps *= 4;
        }
        plan.more(&storm.more);
        if plan.lags > 0 || plan.singly {
            // What is on its way for more than a minute may come twice.
            plan.pace_ms = plan.pace_ms.min(50);
        }
        plan
    }

    /// Has something go wrong that often, as in `crashes=200 hops=50`.
    fn more(&mut self, named: &str) {
        for (name, chance) in named.split_whitespace().filter_map(|it| it.split_once('=')) {
            let chance = chance.parse().expect("a number");
            match name {
                "hops" => self.hops = chance,
                "crashes" => self.crashes = chance,
                "hangs" => self.hangs = chance,
                "cuts" => self.cuts = chance,
                "failovers" => self.failovers = chance,
                "lags" => self.lags = chance,
                "lag_steps" => self.lag_steps = chance,
                "singly" => self.singly = chance != 0,
                "steps" => self.steps = chance,
                other => panic!("SIM_MORE does not know {other}"),
            }
        }
    }

    /// Leaves out what is not named.
    fn only(&mut self, named: &str) {
        let named: Vec<&str> = named.split_whitespace().collect();
        let kinds = [
            ("hops", &mut self.hops),
            ("crashes", &mut self.crashes),
            ("hangs", &mut self.hangs),
            ("cuts", &mut self.cuts),
            ("failovers", &mut self.failovers),
            ("lags", &mut self.lags),
        ];
        kinds.into_iter().filter(|(name, _)| !named.contains(name)).for_each(|(_, it)| *it = 0);
        self.exact = named.contains(&"exact");
        self.singly &= named.contains(&"singly");
        self.wills &= named.contains(&"wills");
        self.shared &= named.contains(&"shared");
        self.retained &= named.contains(&"retained");
    }
}
