//! `pub -l`: each line of the standard input is a message.

use super::payload::Lines;
use super::publisher::{Publisher, Told};
use crate::config::Config;
use crate::reason::exit;
use std::io;
use std::os::fd::AsFd;

/// Runs until the input ends and everything is delivered.
pub(super) fn run(config: &Config) -> i32 {
    // Where somebody types the lines, the status would be in the way.
    let typed = io::IsTerminal::is_terminal(&io::stdin());
    let mut publisher = match Publisher::open(config, !typed) {
        Ok(publisher) => publisher,
        Err(code) => return code,
    };
    let mut lines = Lines::default();
    loop {
        while let Some(told) = publisher.next() {
            match told {
                Told::Connected | Told::Delivered => {}
                Told::Refused(code) => return code,
                Told::Ended(exit::PROTOCOL, text) => {
                    return publisher.fail(exit::PROTOCOL, &text);
                }
                // What is in flight is sent again on the next connection, and the next lines
                // wait for it.
                Told::Ended(..) => publisher.link.reopen_later(),
            }
        }
        if let Err((code, text)) = publish(&mut publisher, &mut lines) {
            let _ = publisher.finish();
            publisher.link.error(&text);
            return code;
        }
        let client = publisher.link.driver.client();
        let done = lines.ended() && !lines.has_next() && client.inflight() == 0;
        if done && client.is_connected() {
            return publisher.finish();
        }
        publisher.status.refresh();
        match wait(&mut publisher, &mut lines) {
            Ok(()) => {}
            Err(Failed::Connection) => publisher.link.reopen_later(),
            Err(Failed::Input(error)) => {
                let text = format!("Error: cannot read the standard input: {error}");
                let _ = publisher.finish();
                publisher.link.error(&text);
                return exit::FAILED;
            }
        }
    }
}

fn publish(publisher: &mut Publisher<'_>, lines: &mut Lines) -> Result<(), (i32, String)> {
    while publisher.may_publish() {
        let Some(line) = lines.next() else { break };
        publisher.publish(line)?;
        publisher.link.output.relieve();
    }
    Ok(())
}

enum Failed {
    Connection,
    Input(io::Error),
}

/// Waits for the broker, and for the input where there is room for it.
fn wait(publisher: &mut Publisher<'_>, lines: &mut Lines) -> Result<(), Failed> {
    let stdin = io::stdin();
    let fds = [stdin.as_fd()];
    let wanted = publisher.may_publish() && !lines.ended();
    let others = if wanted { &fds[..] } else { &[] };
    let status = &publisher.status;
    let until_ms = status.is_shown().then(|| publisher.link.driver.now_ms() + status.every_ms());
    let ready = publisher.link.wait(until_ms, others);
    if ready.map_err(|_| Failed::Connection)?.first() == Some(&true) {
        lines.fill().map_err(Failed::Input)?;
    }
    Ok(())
}
