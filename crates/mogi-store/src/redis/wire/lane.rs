//! One connection to one node, and the pipeline that is out on it.

use super::Commands;
use super::connect::{Dialer, Link};
use super::job::{Job, Step};
use super::notice::Trouble;
use super::options::Address;
use super::scout::number;
use super::value::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::sleep;

/// A pipeline to send. The next one comes when this has been answered.
pub(super) struct Order {
    pub(super) jobs: Vec<Job>,
    pub(super) after: After,
    /// Load the Functions before.
    pub(super) load: bool,
}

/// What to ask about replicas when the jobs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// `WAIT`: let the connection wait for them.
    Wait {
        replicas: u32,
        timeout_ms: u64,
    },
    /// `WAITAOF`: let it wait for disks.
    Sync {
        /// The master's, if this is 1.
        master: u32,
        replicas: u32,
        timeout_ms: u64,
    },
    /// `INFO`: only see what they have.
    Look {
        /// They have to have it. Else a server that may not be asked has none.
        needed: bool,
    },
}

/// Who has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Have {
    /// 1 if the master has.
    pub(super) master: u32,
    pub(super) replicas: u32,
    /// Why the server does not say.
    pub(super) said: Option<String>,
}

/// What a lane tells.
pub(super) enum News {
    /// It is connected, and waits for orders.
    Up,
    /// It is not connected, and why; it goes on trying.
    Down(Trouble),
    /// The jobs of a pipeline, each answered or refused. If the order was to ask about
    /// replicas, that is still to come.
    Answered(Vec<Job>),
    /// They have everything.
    Waited(Have),
    /// The end of what this master has written, and how far each replica has it.
    Looked { offset: u64, replicas: Vec<Replica> },
    /// The connection ended. What of the pipeline may have been carried out, and what not.
    Broken { why: String, sent: Vec<Job>, unsent: Vec<Job> },
}

/// What a master knows of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    /// It has the master's changes as far as this.
    pub(super) offset: u64,
    /// So many seconds ago it said so.
    pub(super) lag_s: u64,
}

/// Which lane tells it: of which track, to which node, which one of those there have been.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    pub(super) aside: bool,
    pub(super) node: Arc<Address>,
    pub(super) id: u64,
}

/// The task of a lane.
pub(super) struct LaneTask {
    pub(super) whose: Whose,
    pub(super) dialer: Arc<Dialer>,
    pub(super) orders: UnboundedReceiver<Order>,
    pub(super) news: UnboundedSender<(Whose, News)>,
    /// Give the pipeline up that is out.
    pub(super) kill: Arc<Notify>,
}

/// Between attempts to connect; doubled each time up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

impl LaneTask {
    /// Until nobody can give it an order any more.
    pub(super) async fn run(mut self) {
        let mut pause = BACK_OFF.0;
        loop {
            match self.connect().await {
                Err(why) => {
                    let unsent = self.unheard();
                    if !unsent.is_empty() {
                        let why = why.to_string();
                        self.tell(News::Broken { why, sent: Vec::new(), unsent });
                    }
                    if !self.tell(News::Down(why)) || self.orders.is_closed() {
                        return;
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(BACK_OFF.1);
                }
                Ok(mut link) => {
                    pause = BACK_OFF.0;
                    if !self.tell(News::Up) {
                        return;
                    }
                    let Some(broken) = self.work(&mut link).await else { return };
                    if !self.tell(broken) {
                        return;
                    }
                }
            }
        }
    }

    /// The jobs of orders that came when the connection had ended, and nobody knew.
    fn unheard(&mut self) -> Vec<Job> {
        std::iter::from_fn(|| self.orders.try_recv().ok()).flat_map(|order| order.jobs).collect()
    }

    async fn connect(&self) -> Result<Link, Trouble> {
        let mut link = self.dialer.dial(&self.whose.node).await?;
        if let Some(library) = &self.dialer.options.library {
            link.load(library).await?;
        }
        Ok(link)
    }

    /// Carries orders out until the connection ends, or there will be none any more.
    async fn work(&mut self, link: &mut Link) -> Option<News> {
        let mut out = Vec::new();
        loop {
            let order = tokio::select! {
                order = self.orders.recv() => order?,
                why = link.end() => {
                    return Some(News::Broken { why, sent: Vec::new(), unsent: self.unheard() });
                }
            };
            let kill = Arc::clone(&self.kill);
            let mut flight = Flight { jobs: order.jobs, starts: Vec::new(), written: 0 };
            let result = tokio::select! {
                result = self.carry_out(link, &mut out, &mut flight, order.after, order.load) => {
                    result
                }
                () = kill.notified() => Err("it has lost its slots".to_owned()),
            };
            if let Err(why) = result {
                let (sent, unsent) = flight.apart();
                return Some(News::Broken { why, sent, unsent });
            }
            // A huge pipeline was an exception, and so is its memory.
            if out.capacity() > KEEP_BYTES {
                out = Vec::new();
            }
        }
    }

    async fn carry_out(
        &self,
        link: &mut Link,
        out: &mut Vec<u8>,
        flight: &mut Flight,
        after: After,
        load: bool,
    ) -> Result<(), String> {
        if let (true, Some(library)) = (load, &self.dialer.options.library) {
            link.load(library).await.map_err(|why| why.to_string())?;
        }
        flight.write(out);
        after.write(out);
        if !flight.jobs.is_empty() {
            let mut current = 0;
            let Flight { jobs, written, .. } = flight;
            let exchange = link.exchange(out, written, |value| {
                match jobs[current].accept(value) {
                    Step::More => return Ok(false),
                    Step::Last => current += 1,
                    Step::Broken => return Err("its answers make no sense".to_owned()),
                }
                Ok(current == jobs.len())
            });
            exchange.await?;
        }
        self.tell(News::Answered(std::mem::take(&mut flight.jobs)));
        if after == After::Nothing {
            return Ok(());
        }
        let mut answer = Value::Nil;
        let exchange = link.exchange(out, &mut flight.written, |value| {
            answer = value;
            Ok(true)
        });
        exchange.await?;
        self.tell(after.read(&answer)?);
        Ok(())
    }

    fn tell(&self, news: News) -> bool {
        self.news.send((self.whose.clone(), news)).is_ok()
    }
}

/// An output buffer larger than this is not kept.
const KEEP_BYTES: usize = 4 << 20;

/// A pipeline that is out.
struct Flight {
    jobs: Vec<Job>,
    /// Where in the output each job begins.
    starts: Vec<usize>,
    written: usize,
}

impl Flight {
    fn write(&mut self, out: &mut Vec<u8>) {
        out.clear();
        for job in &mut self.jobs {
            self.starts.push(out.len());
            job.write(out);
        }
    }

    /// Those of which a byte was sent, and the others.
    fn apart(mut self) -> (Vec<Job>, Vec<Job>) {
        let sent = self.starts.iter().take_while(|start| **start < self.written).count();
        let unsent = self.jobs.split_off(sent.min(self.jobs.len()));
        (self.jobs, unsent)
    }
}

impl After {
    fn write(self, out: &mut Vec<u8>) {
        let mut commands = Commands::new();
        match self {
            Self::Nothing => {}
            Self::Wait { replicas, timeout_ms } => {
                commands.begin(3).word(b"WAIT").number(u64::from(replicas)).number(timeout_ms);
            }
            Self::Sync { master, replicas, timeout_ms } => {
                let commands = commands.begin(4).word(b"WAITAOF").number(u64::from(master));
                commands.number(u64::from(replicas)).number(timeout_ms);
            }
            Self::Look { .. } => {
                commands.push(&[b"INFO", b"replication"]);
            }
        }
        out.extend_from_slice(commands.bytes());
    }

    /// # Errors
    /// The node is no master any more, or does not tell.
    fn read(self, answer: &Value) -> Result<News, String> {
        if let Some(error) = answer.error() {
            let text = error.to_string();
            // It is too old, keeps no such file, or may not be asked.
            let hopeless = text.starts_with("ERR") || text.starts_with("NOPERM");
            let demoted = text.contains("replica instances");
            if matches!(self, Self::Sync { .. }) && hopeless && !demoted {
                return Ok(News::Waited(Have { master: 0, replicas: 0, said: Some(text) }));
            }
            if self == (Self::Look { needed: false }) && text.starts_with("NOPERM") {
                return Ok(News::Looked { offset: 0, replicas: Vec::new() });
            }
            return Err(format!("it was asked about replicas and said: {error}"));
        }
        let senseless = || "its answer about replicas makes no sense".to_owned();
        if let Self::Look { .. } = self {
            let text = answer.text().ok_or_else(senseless)?;
            if !text.contains("role:master") {
                return Err("it is no master any more".to_owned());
            }
            let offset = number(text, "master_repl_offset:").ok_or_else(senseless)?;
            return Ok(News::Looked { offset, replicas: replicas(text) });
        }
        let count = |answer: &Value| answer.int().and_then(|count| u32::try_from(count).ok());
        let counts = match self {
            Self::Sync { .. } => answer.array().and_then(|both| {
                let [master, replicas] = both else { return None };
                Some((count(master)?, count(replicas)?))
            }),
            _ => count(answer).map(|replicas| (1, replicas)),
        };
        let (master, replicas) = counts.ok_or_else(senseless)?;
        Ok(News::Waited(Have { master, replicas, said: None }))
    }
}

/// `slave0:ip=…,port=…,state=online,offset=212,lag=1` for each.
fn replicas(info: &str) -> Vec<Replica> {
    let online = info.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let number = name.strip_prefix("slave")?;
        (number.parse::<u32>().is_ok() && rest.contains("state=online")).then_some(rest)
    });
    let field = |rest: &str, name: &str| {
        let value = rest.split(',').find_map(|field| field.strip_prefix(name))?;
        value.trim().parse().ok()
    };
    let replica =
        |rest| Some(Replica { offset: field(rest, "offset=")?, lag_s: field(rest, "lag=")? });
    online.filter_map(replica).collect()
}

#[cfg(test)]
mod tests {
    use super::super::value::ServerError;
    use super::*;

    #[test]
    fn replicas_that_are_online_count() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
            slave0:ip=127.0.0.1,port=1,state=online,offset=212,lag=1\r\n\
            slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n\
            slaves_waiting_psync:0\r\nmaster_repl_offset:300\r\n";
        assert_eq!(replicas(info), [Replica { offset: 212, lag_s: 1 }]);
        let answer = Value::BulkString(info.as_bytes().to_vec().into());
        let news = (After::Look { needed: true }).read(&answer).expect("sense");
        assert!(matches!(news, News::Looked { offset: 300, .. }));
        let replica = Value::BulkString(b"role:slave\r\nmaster_repl_offset:1\r\n"[..].into());
        assert!((After::Look { needed: true }).read(&replica).is_err());
    }

    #[test]
    fn a_server_that_will_never_sync_is_no_broken_connection() {
        let sync = After::Sync { master: 1, replicas: 1, timeout_ms: 9 };
        let both = Value::Array(vec![Value::Int(1), Value::Int(0)]);
        let news = sync.read(&both).expect("sense");
        assert!(matches!(news, News::Waited(Have { master: 1, replicas: 0, said: None })));
        let read = |text: &str| sync.read(&Value::ServerError(ServerError(text.to_owned())));
        let old = read("ERR unknown command 'WAITAOF', with args beginning with: '1'");
        assert!(matches!(old, Ok(News::Waited(Have { master: 0, said: Some(_), .. }))));
        assert!(read("ERR WAITAOF cannot be used with replica instances.").is_err());
        assert!(read("LOADING Redis is loading the dataset in memory").is_err());
    }

    #[test]
    fn who_may_not_ask_for_replicas_waits_for_none_unless_they_are_needed() {
        let text = "NOPERM User mogi has no permissions to run the 'info' command";
        let read =
            |needed| After::Look { needed }.read(&Value::ServerError(ServerError(text.to_owned())));
        assert!(matches!(read(false), Ok(News::Looked { replicas, .. }) if replicas.is_empty()));
        assert!(read(true).is_err());
    }

    #[test]
    fn what_was_not_written_is_not_sent() {
        let job = || {
            let request = super::super::Request::new(1, Commands::one(&[b"PING"]));
            Job::new(request, Box::new(|_| ()))
        };
        let mut flight = Flight { jobs: vec![job(), job(), job()], starts: vec![], written: 0 };
        let mut out = Vec::new();
        flight.write(&mut out);
        flight.written = out.len() / 3 + 1;
        let (sent, unsent) = flight.apart();
        assert_eq!((sent.len(), unsent.len()), (2, 1));
    }
}
