//! Asks nodes who has which slots, on connections of its own.

use super::connect::Dialer;
use super::notice::Trouble;
use super::options::{Address, Mode};
use super::topology::View;
use super::value::Value;
use super::{Commands, connect};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

/// What a round of questions brings.
pub(super) enum Report {
    /// One node's answer.
    View(View),
    /// One node's lack of an answer.
    Nothing(Address, Trouble),
    /// All have answered, or had their time.
    Over,
}

/// One node gets so long.
const PATIENCE: Duration = Duration::from_millis(1000);
/// So many nodes are asked at once.
pub(super) const AT_ONCE: usize = 16;

/// Asks all these nodes at once.
pub(super) async fn round(
    dialer: Arc<Dialer>,
    nodes: Vec<Address>,
    report: UnboundedSender<Report>,
) {
    let mut asked = Vec::new();
    for node in nodes.into_iter().take(AT_ONCE) {
        let (dialer, report) = (Arc::clone(&dialer), report.clone());
        asked.push(tokio::spawn(async move {
            let late = || Trouble::Unreachable("no answer in time".to_owned());
            let answer = timeout(PATIENCE, ask(&dialer, &node)).await;
            let answer = answer.unwrap_or_else(|_| Err(late()));
            let found = match answer {
                Ok(view) => Report::View(view),
                Err(why) => Report::Nothing(node, why),
            };
            // Nobody listens any more at the end.
            drop(report.send(found));
        }));
    }
    for task in asked {
        drop(task.await);
    }
    drop(report.send(Report::Over));
}

async fn ask(dialer: &Dialer, node: &Address) -> Result<View, Trouble> {
    let mut link = dialer.dial(node).await?;
    if dialer.options.mode == Mode::Single {
        return single(&mut link, node).await;
    }
    let mut questions = Commands::one(&[b"CLUSTER", b"INFO"]);
    questions.push(&[b"CLUSTER", b"SLOTS"]);
    let answers = link.ask(&questions).await?;
    let [info, slots] = &answers[..] else { return Err(senseless("CLUSTER INFO")) };
    if let Some(error) = info.error() {
        let none = error.0.contains("cluster support disabled");
        return match dialer.options.mode {
            Mode::Auto if none => single(&mut link, node).await,
            _ => Err(connect::trouble(&error.0, "CLUSTER INFO")),
        };
    }
    let epoch = info.text().and_then(|info| number(info, "cluster_current_epoch:"));
    let epoch = epoch.ok_or_else(|| senseless("CLUSTER INFO"))?;
    if let Some(error) = slots.error() {
        return Err(connect::trouble(&error.0, "CLUSTER SLOTS"));
    }
    View::of_cluster(slots, epoch, node).ok_or_else(|| senseless("CLUSTER SLOTS"))
}

/// A server without a cluster is of use if it is no replica.
async fn single(link: &mut connect::Link, node: &Address) -> Result<View, Trouble> {
    let role = link.ask(&Commands::one(&[b"ROLE"])).await?;
    let role = role.first().ok_or_else(|| senseless("ROLE"))?;
    match role.array().and_then(<[Value]>::first).and_then(Value::text) {
        Some("master") => Ok(View::single(node.clone())),
        // Who may not ask for the role finds out with the first command.
        _ if role.error().is_some_and(|error| error.code() == "NOPERM") => {
            Ok(View::single(node.clone()))
        }
        Some(other) => Err(Trouble::NoTopology(format!("it is a {other}, not a master"))),
        None => Err(senseless("ROLE")),
    }
}

fn senseless(command: &str) -> Trouble {
    Trouble::NoTopology(format!("its answer to {command} makes no sense"))
}

/// The number behind `name`, on a line of its own.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
