//! Who has connected to the cluster's listener and not yet said who it is: anybody may, and none of
//! it may cost much.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that may be strangers at once; more are closed. All other nodes have room in it.
const STRANGERS_MAX: usize = 128;
/// Lines about refused connections in a [`LINES_TIME`].
const LINES_MAX: u32 = 10;
const LINES_TIME: Duration = Duration::from_secs(60);

/// Counts them.
#[derive(Clone, Debug)]
pub(super) struct Strangers {
    places: Arc<Semaphore>,
    said: Arc<Mutex<(Instant, u32)>>,
}

impl Strangers {
    pub(super) fn new() -> Self {
        let places = Arc::new(Semaphore::new(STRANGERS_MAX));
        Self { places, said: Arc::new(Mutex::new((Instant::now(), 0))) }
    }

    /// A place for one more, until it is known or gone; `None`: there are too many.
    pub(super) fn come(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// What of a line about one of them goes to the log.
    pub(super) fn line(&self, line: String) -> Option<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.0.elapsed() >= LINES_TIME {
            *said = (Instant::now(), 0);
        }
        said.1 = said.1.saturating_add(1);
        match said.1 {
            ..LINES_MAX => Some(line),
            LINES_MAX => Some(format!("{line} More of them are not logged for a minute.")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_turned_away_and_fills_no_log() {
        let strangers = Strangers::new();
        let places: Vec<_> = (0..STRANGERS_MAX).map(|_| strangers.come()).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(strangers.come().is_none());
        drop(places);
        assert!(strangers.come().is_some());
        let said = (0..1000).filter_map(|_| strangers.line("refused.".to_owned()));
        assert_eq!(said.count(), LINES_MAX as usize);
    }
}
