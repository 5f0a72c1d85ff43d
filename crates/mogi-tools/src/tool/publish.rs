//! `pub` of one message, once or repeatedly.

use super::publisher::{Publisher, Told};
use super::{lines, payload};
use crate::config::Config;
use crate::reason::exit;
use crate::report;
use mogi_codec::QoS;

/// Runs `pub`; answers with the exit code.
pub(crate) fn run(config: &Config) -> i32 {
    match payload::load(config.payload.as_ref()) {
        Ok(Some(payload)) => run_single(config, &payload),
        Ok(None) => lines::run(config),
        Err(what) => {
            eprintln!("{what}");
            exit::FAILED
        }
    }
}

fn run_single(config: &Config, payload: &[u8]) -> i32 {
    let publisher = match Publisher::open(config, config.repeat > 1) {
        Ok(publisher) => publisher,
        Err(code) => return code,
    };
    let single = Single { publisher, left: config.repeat, delivered: true, due_ms: 0 };
    single.run(payload)
}

struct Single<'a> {
    publisher: Publisher<'a>,
    /// Messages still to be published.
    left: u32,
    /// Whether the last one is delivered: only then the next one follows.
    delivered: bool,
    /// When the next one may follow.
    due_ms: u64,
}

impl Single<'_> {
    fn run(mut self, payload: &[u8]) -> i32 {
        loop {
            while let Some(told) = self.publisher.next() {
                match told {
                    Told::Connected => {}
                    Told::Delivered => self.has_delivered(),
                    Told::Refused(code) => return code,
                    Told::Ended(code, text) => return self.publisher.fail(code, &text),
                }
            }
            if let Err((code, text)) = self.publish(payload) {
                let _ = self.publisher.finish();
                report::error(self.publisher.link.config, &text);
                return code;
            }
            if self.left == 0 && self.delivered {
                return self.publisher.finish();
            }
            self.publisher.status.refresh();
            if let Err(error) = self.publisher.link.wait(self.wake_ms(), &[]) {
                let (code, text) = report::ended(&error);
                return self.publisher.fail(code, &text);
            }
        }
    }

    fn publish(&mut self, payload: &[u8]) -> Result<(), (i32, String)> {
        while self.left > 0 && self.delivered && self.now_ms() >= self.due_ms {
            if !self.publisher.publish(payload)? {
                break;
            }
            self.left -= 1;
            self.delivered = false;
            if self.publisher.link.config.qos == QoS::AtMostOnce {
                self.has_delivered();
            }
        }
        Ok(())
    }

    fn has_delivered(&mut self) {
        self.delivered = true;
        let delay = self.publisher.link.config.repeat_delay;
        self.due_ms = self.now_ms() + delay.as_millis() as u64;
    }

    fn now_ms(&self) -> u64 {
        self.publisher.link.driver.now_ms()
    }

    /// When to wake up if nothing happens.
    fn wake_ms(&self) -> Option<u64> {
        let status = &self.publisher.status;
        let refresh_ms = status.is_shown().then(|| self.now_ms() + status.every_ms());
        // A due message that could not be published waits for the socket, not for the time.
        let next = self.left > 0 && self.delivered && self.now_ms() < self.due_ms;
        let due_ms = next.then_some(self.due_ms);
        [refresh_ms, due_ms].into_iter().flatten().min()
    }
}
