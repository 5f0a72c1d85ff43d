//! The connection of a tool, with its output and its errors.

use crate::config::Config;
use crate::output::Output;
use crate::reason::exit;
use crate::{connect, report};
use mogi_client::{Driver, DriverError};
use mogi_codec::{Properties, Reason};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// How long after a lost connection the next one is tried.
const RECONNECT_MS: u64 = 1000;

/// How long one address of the broker may take to answer; Mosquitto's tools wait as long as the
/// system does.
const DIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// The same after a lost connection. Signals and `-W` wait for it, so it is short; it is tried
/// again anyway.
const REDIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the broker may take nothing of the last bytes.
const WRITE_MS: u64 = 10_000;

/// How long it may take to close its side after the goodbye.
const CLOSE_MS: u64 = 1000;

/// The connection. The fields are separate, so that an event of the driver can be printed.
pub(crate) struct Link<'a> {
    pub(crate) config: &'a Config,
    pub(crate) driver: Driver,
    pub(crate) output: Output,
    /// When to connect again.
    reconnect_ms: Option<u64>,
    /// The goodbye is no line of `-d`.
    pub(crate) leaves_silently: bool,
}

impl<'a> Link<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The exit code; why was said.
    pub(crate) fn open(config: &'a Config) -> Result<Self, i32> {
        let mut link = Self {
            config,
            driver: connect::driver(config),
            output: Output::default(),
            reconnect_ms: None,
            leaves_silently: false,
        };
        if let Err(why) = connect::dial(config, &mut link.driver, DIAL_TIMEOUT) {
            report::error(config, &why);
            return Err(exit::FAILED);
        }
        Ok(link)
    }

    /// The connection is lost: closes it, to try again in a second.
    pub(crate) fn reopen_later(&mut self) {
        self.driver.close();
        self.reconnect_ms = Some(self.driver.now_ms() + RECONNECT_MS);
    }

    /// Prints what is to be printed; waits until something happens; connects again when it is
    /// time for that. Answers which of `others` can be read.
    ///
    /// # Errors
    /// The connection is over.
    pub(crate) fn wait(
        &mut self,
        until_ms: Option<u64>,
        others: &[BorrowedFd<'_>],
    ) -> Result<Vec<bool>, DriverError> {
        report::trace(self.driver.client_mut(), &mut self.output);
        self.output.flush();
        let now_ms = self.driver.now_ms();
        if self.reconnect_ms.is_some_and(|at_ms| now_ms >= at_ms) {
            self.reconnect_ms = match connect::dial(self.config, &mut self.driver, REDIAL_TIMEOUT) {
                Ok(()) => None,
                Err(_) => Some(self.driver.now_ms() + RECONNECT_MS),
            };
        }
        let deadlines = [until_ms, self.reconnect_ms];
        let until_ms = deadlines.into_iter().flatten().min();
        let ready = self.driver.wait(until_ms, others);
        report::trace(self.driver.client_mut(), &mut self.output);
        ready
    }

    /// Says goodbye, with the `-D disconnect` properties, and waits until the broker has it.
    ///
    /// # Errors
    /// Not everything could be sent.
    pub(crate) fn finish(&mut self, reason: Reason) -> Result<(), DriverError> {
        if !self.driver.client().is_connected() {
            // There is nobody to say goodbye to.
            self.output.flush();
            self.driver.close();
            return Ok(());
        }
        let properties = &self.config.properties.disconnect;
        let properties = if self.config.version.is_v5() {
            properties.as_properties()
        } else {
            Properties::default()
        };
        self.driver.client_mut().disconnect(reason, properties);
        if !self.leaves_silently {
            report::trace(self.driver.client_mut(), &mut self.output);
        }
        self.output.flush();
        self.driver.finish(WRITE_MS, CLOSE_MS)
    }

    /// Prints an error of the connection, after what came before it.
    pub(crate) fn error(&mut self, text: &str) {
        report::trace(self.driver.client_mut(), &mut self.output);
        self.output.flush();
        report::error(self.config, text);
    }
}
