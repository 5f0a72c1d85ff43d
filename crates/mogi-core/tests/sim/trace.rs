//! The last events of a run, kept only while a failing run is repeated.

use std::cell::RefCell;
use std::collections::VecDeque;

/// Events shown for a failure.
const KEPT: usize = 60;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    static TRACE: RefCell<Option<VecDeque<String>>> = const { RefCell::new(None) };
}

pub(crate) fn start() {
    TRACE.with(|trace| *trace.borrow_mut() = Some(VecDeque::new()));
}

/// Ends tracing; the events, oldest first.
pub(crate) fn stop() -> Vec<String> {
    TRACE.with(|trace| trace.borrow_mut().take().unwrap_or_default().into())
}

/// Notes an event; the text is made only if somebody wants it.
pub(crate) fn note(event: impl FnOnce() -> String) {
    TRACE.with(|trace| {
        if let Some(events) = trace.borrow_mut().as_mut() {
            if events.len() == kept() {
                events.pop_front();
            }
            events.push_back(event());
        }
    });
}

/// `SIM_TRACE` shows more of them.
fn kept() -> usize {
    static KEEP: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *KEEP.get_or_init(|| {
        let wanted = std::env::var("SIM_TRACE").ok();
        wanted.and_then(|text| text.parse().ok()).unwrap_or(KEPT)
    })
}

/// Panics of attempts are kept instead of printed: a failure is looked for again and again until
/// it is short.
pub(crate) fn keep_panics_quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if text.contains("SIM_STEPS") {
                loud(info);
            }
            PANIC.with(|panic| *panic.borrow_mut() = text);
        }));
    });
}

/// What the last panic said.
pub(crate) fn panic() -> String {
    PANIC.with(|panic| panic.borrow().clone())
}
