//! `mogi store verify`: reads every record, and says what is damaged.

use super::{DAMAGED, Failure, print};
use crate::store_tool::reading::Reading;
use mogi_store::StoreError;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Verdict<'a> {
    store: String,
    healthy: bool,
    sessions: usize,
    messages: u64,
    retained: u64,
    wills: usize,
    damaged_records: u64,
    lost_journal_bytes: u64,
    torn_bytes: u64,
    unreadable: bool,
    #[serde(skip)]
    on_disk: bool,
    found: &'a [String],
}

pub(super) fn run(mut reading: Reading, json: bool) -> Result<u8, Failure> {
    let mut messages = 0;
    for at in 0..reading.sessions.len() {
        reading.each_message(at, |_, _| {
            messages += 1;
            Ok::<(), StoreError>(())
        })?;
    }
    let mut retained = 0;
    reading.each_retained(|_, _| retained += 1)?;
    let damage = &reading.damage;
    let verdict = Verdict {
        store: reading.place.clone(),
        healthy: !damage.any(),
        sessions: reading.sessions.len(),
        messages,
        retained,
        wills: reading.wills.len(),
        damaged_records: damage.records,
        lost_journal_bytes: damage.lost_journal_bytes,
        torn_bytes: damage.torn_bytes,
        unreadable: damage.started_anew,
        on_disk: reading.snapshot().is_some(),
        found: &damage.found,
    };
    let code = if verdict.healthy { 0 } else { DAMAGED };
    if json {
        let text = serde_json::to_string_pretty(&verdict).map_err(std::io::Error::from)?;
        print(&(text + "\n"))?;
    } else {
        print(&in_words(&verdict))?;
    }
    Ok(code)
}

fn in_words(verdict: &Verdict<'_>) -> String {
    let Verdict { store, sessions, messages, retained, wills, .. } = verdict;
    let mut text = String::new();
    let read = format!(
        "{sessions} sessions, {messages} messages for them, {retained} retained messages and \
         {wills} wills can be read"
    );
    let mut say = |line: &str| text += &format!("{line}\n");
    if verdict.torn_bytes > 0 {
        say(&format!(
            "The last {} bytes of a journal belong to no whole change. A crash leaves that; \
             nothing in them was acknowledged (unless persistence_sync is not 'always').",
            verdict.torn_bytes
        ));
    }
    if verdict.healthy {
        say(&format!("The store in {store} is healthy: {read}."));
        return text;
    }
    if verdict.unreadable {
        say(&format!("The store in {store} cannot be opened:"));
    } else {
        say(&format!(
            "The store in {store} is damaged: at least {} records and {} bytes of a journal are \
             lost; {read}.",
            verdict.damaged_records, verdict.lost_journal_bytes
        ));
    }
    verdict.found.iter().for_each(|found| say(&format!("  {found}")));
    if verdict.damaged_records > verdict.found.len() as u64 {
        say("  and more");
    }
    if !verdict.on_disk {
        say(
            "Nothing was changed. Somebody else wrote there, or a broker of another version: look \
             at the keys with redis-cli. Brokers skip what they cannot read.",
        );
        return text;
    }
    say("Nothing was changed. What to do: copy the folder first. If there is a backup, compare \
         what both hold with 'mogi store inspect'. A broker that starts with this folder renames \
         what is damaged, serves the rest and says so in its log; with 'persistence_on_damage \
         stop' it does not start. Look for disk errors in the system's log.");
    text
}
