//! Answers that were given lately, up to a number and for a time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Answers by question. When there are too many, those that were not asked for since half of them
/// came are forgotten.
pub(super) struct Memory<T> {
    limit: usize,
    time: Duration,
    parts: Mutex<Parts<T>>,
}

struct Parts<T> {
    young: HashMap<[u8; 32], (Instant, T)>,
    old: HashMap<[u8; 32], (Instant, T)>,
}

impl<T: Clone> Memory<T> {
    pub(super) fn new(limit: usize, time: Duration) -> Self {
        let parts = Parts { young: HashMap::new(), old: HashMap::new() };
        Self { limit, time, parts: Mutex::new(parts) }
    }

    /// What was answered.
    pub(super) fn get(&self, question: &[u8; 32]) -> Option<T> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((until, answer)) = parts.young.get(question) {
            return (*until > now).then(|| answer.clone());
        }
        let (until, answer) = parts.old.remove(question)?;
        if until <= now {
            return None;
        }
        self.insert(&mut parts, *question, until, answer.clone());
        Some(answer)
    }

    /// Remembers an answer.
    pub(super) fn put(&self, question: [u8; 32], answer: T) {
        if self.time.is_zero() {
            return;
        }
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut parts, question, Instant::now() + self.time, answer);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.young.clear();
        parts.old.clear();
    }

    fn insert(&self, parts: &mut Parts<T>, question: [u8; 32], until: Instant, answer: T) {
        if parts.young.len() >= (self.limit / 2).max(1) {
            parts.old = std::mem::take(&mut parts.young);
        }
        parts.young.insert(question, (until, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_remembered_for_a_time() {
        let memory = Memory::new(10, Duration::from_millis(20));
        memory.put([1; 32], true);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(memory.get(&[1; 32]), None);
        let memory = Memory::new(10, Duration::from_secs(60));
        memory.put([1; 32], true);
        assert_eq!((memory.get(&[1; 32]), memory.get(&[2; 32])), (Some(true), None));
        memory.clear();
        assert_eq!(memory.get(&[1; 32]), None);
    }

    #[test]
    fn there_is_a_limit_and_what_is_asked_for_stays() {
        let memory = Memory::new(10, Duration::from_secs(60));
        memory.put([255; 32], 0);
        for number in 0..100 {
            memory.put([number; 32], 1);
            assert_eq!(memory.get(&[255; 32]), Some(0), "after {number}");
        }
        let parts = memory.parts.lock().expect("not poisoned");
        assert!(parts.young.len() + parts.old.len() <= 10);
    }
}
