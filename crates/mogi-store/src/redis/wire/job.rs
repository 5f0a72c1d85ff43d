//! A request on its way: what of it is answered, what has to be sent, and what came of that.

use super::notice::Refusal;
use super::refusal::{behind_abort, refusal};
use super::value::Value;
use super::{Fault, Outcome, Reply, Request};

/// Whom the reply goes to.
pub(super) type Done = Box<dyn FnOnce(Outcome) + Send>;

/// A request on its way.
pub(super) struct Job {
    request: Request,
    /// Taken when it is answered.
    done: Option<Done>,
    /// The answers so far, one place per command.
    values: Vec<Option<Value>>,
    /// It is not known whether `first` was carried out, and there is something else to send.
    again: bool,
    reading: Reading,
    refused: Option<Refused>,
    /// The next attempt goes to the node an `ASK` named.
    pub(super) asking: bool,
    /// Sent to find out whether its slot is served again; the rest of the slot waits for it.
    pub(super) probe: bool,
    /// How often a server has refused it.
    pub(super) refusals: u32,
}

/// A server's state did not let it carry out a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: Refusal,
    /// The error as the server words it.
    pub(super) text: String,
}

/// Where in the replies of an attempt the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The reply to `ASKING` is next, and then that to `Command` or `Multi`.
    Asking,
    /// The reply to the first command from this index that has none.
    Command(usize),
    Multi,
    Queued(usize),
    Exec,
}

/// What a reply means for the attempt it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More replies are due.
    More,
    /// That was the last.
    Last,
    /// No server answers like this: nothing is known.
    Broken,
}

impl Job {
    pub(super) fn new(request: Request, done: Done) -> Self {
        let values = request.first.bytes_apart().map(|_| None).collect();
        Self {
            request,
            done: Some(done),
            values,
            again: false,
            reading: Reading::Command(0),
            refused: None,
            asking: false,
            probe: false,
            refusals: 0,
        }
    }

    /// Writes what this attempt sends.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
        const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
        const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
        self.refused = None;
        let commands = if self.again { self.request.again.as_ref() } else { None };
        let commands = commands.unwrap_or(&self.request.first);
        if self.atomic() {
            if self.asking {
                out.extend_from_slice(ASKING);
            }
            out.extend_from_slice(MULTI);
            out.extend_from_slice(commands.bytes());
            out.extend_from_slice(EXEC);
        } else {
            let open = commands.bytes_apart().zip(&self.values).filter(|(_, it)| it.is_none());
            for (command, _) in open {
                if self.asking {
                    out.extend_from_slice(ASKING);
                }
                out.extend_from_slice(command);
            }
        }
        self.reading = self.begin();
    }

    /// Takes the next reply of this attempt.
    pub(super) fn accept(&mut self, value: Value) -> Step {
        match self.reading {
            Reading::Asking => {
                self.reading = match self.atomic() {
                    true => Reading::Multi,
                    false => Reading::Command(self.next_open(0)),
                };
                // What is wrong shows with the command that follows.
                Step::More
            }
            Reading::Command(from) => {
                let at = self.next_open(from);
                if at >= self.values.len() {
                    return Step::Broken;
                }
                match self.state_of(&value) {
                    Some(refused) => drop(self.refused.get_or_insert(refused)),
                    None => self.values[at] = Some(value),
                }
                let next = self.next_open(at + 1);
                if next >= self.values.len() {
                    return Step::Last;
                }
                self.reading = Reading::Command(next);
                Step::More
            }
            Reading::Multi => {
                self.refused = self.state_of(&value);
                self.reading = Reading::Queued(0);
                let fine = value == Value::Okay || self.refused.is_some();
                if fine { Step::More } else { Step::Broken }
            }
            Reading::Queued(at) => self.queued(at, value),
            Reading::Exec => self.executed(value),
        }
    }

    /// Whether all commands are answered.
    pub(super) fn complete(&self) -> bool {
        self.refused.is_none() && self.values.iter().all(Option::is_some)
    }

    /// Why the last attempt was refused, if it was.
    pub(super) const fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// It was sent, and nobody knows what came of it.
    pub(super) fn ambiguous(&mut self) {
        self.refused = None;
        let count = match &self.request.again {
            Some(again) => {
                self.again = true;
                again.len()
            }
            None => self.request.first.len(),
        };
        self.values.clear();
        self.values.resize(count, None);
    }

    /// Gives the reply to whom it belongs.
    pub(super) fn finish(mut self) {
        let values = std::mem::take(&mut self.values).into_iter().flatten().collect();
        let reply = Reply { values, again: self.again };
        self.answer(Ok(reply));
    }

    /// There will be no reply.
    pub(super) fn fail(mut self, fault: Fault) {
        self.answer(Err(fault));
    }

    pub(super) const fn slot(&self) -> u16 {
        self.request.slot
    }

    pub(super) const fn durable(&self) -> bool {
        self.request.durable
    }

    pub(super) const fn aside(&self) -> bool {
        self.request.aside
    }

    pub(super) const fn frees(&self) -> bool {
        self.request.frees
    }

    /// Bytes it occupies, roughly. Stays the same.
    pub(super) fn size(&self) -> usize {
        let again = self.request.again.as_ref().map_or(0, |again| again.bytes().len());
        size_of::<Self>() + self.request.first.bytes().len() + again
    }

    /// Bytes the next attempt sends, roughly.
    pub(super) fn wire_size(&self) -> usize {
        let commands = if self.again { self.request.again.as_ref() } else { None };
        commands.unwrap_or(&self.request.first).bytes().len()
    }

    /// Commands the next attempt sends.
    pub(super) fn commands(&self) -> usize {
        self.values.len()
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(done) = self.done.take() {
            done(outcome);
        }
    }

    /// What is repeated is guarded by itself, and seldom.
    fn atomic(&self) -> bool {
        self.request.atomic && !(self.again && self.values.len() == 1)
    }

    fn begin(&self) -> Reading {
        match (self.asking, self.atomic()) {
            (true, _) => Reading::Asking,
            (false, true) => Reading::Multi,
            (false, false) => Reading::Command(self.next_open(0)),
        }
    }

    fn next_open(&self, from: usize) -> usize {
        let rest = self.values.iter().skip(from);
        from + rest.take_while(|value| value.is_some()).count()
    }

    fn state_of(&self, value: &Value) -> Option<Refused> {
        let text = &value.error()?.0;
        let text = behind_abort(text).unwrap_or(text);
        refusal(text).map(|kind| Refused { kind, text: text.to_owned() })
    }

    fn queued(&mut self, at: usize, value: Value) -> Step {
        if let Some(refused) = self.state_of(&value) {
            self.refused.get_or_insert(refused);
        } else if value.error().is_some() {
            self.values[at] = Some(value);
        } else if self.refused.as_ref().is_some_and(|it| it.kind == Refusal::Login) {
            // MULTI was refused and this was not: it was carried out by itself.
            return Step::Broken;
        }
        self.reading =
            if at + 1 < self.values.len() { Reading::Queued(at + 1) } else { Reading::Exec };
        Step::More
    }

    fn executed(&mut self, value: Value) -> Step {
        match value {
            Value::Array(values) if values.len() == self.values.len() => {
                self.refused = None;
                self.values = values.into_iter().map(Some).collect();
            }
            Value::ServerError(_) => {
                if self.refused.is_none() {
                    self.refused = self.state_of(&value);
                }
                if self.refused.is_some() {
                    self.values.fill(None);
                } else {
                    // A command was wrong by itself: its own error, and for the others this one.
                    for place in self.values.iter_mut().filter(|place| place.is_none()) {
                        *place = Some(value.clone());
                    }
                }
            }
            _ => return Step::Broken,
        }
        Step::Last
    }
}

/// Whoever waits for it must not wait for ever, wherever it was when everything ended.
impl Drop for Job {
    fn drop(&mut self) {
        self.answer(Err(Fault::Closed));
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job in slot {}: {:?}", self.request.slot, self.request.first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Commands, ServerError};
    use super::*;

    fn error(text: &str) -> Value {
        Value::ServerError(ServerError(text.to_owned()))
    }

    fn job(commands: &[&[u8]], change: impl FnOnce(&mut Request)) -> Job {
        let mut packed = Commands::new();
        for name in commands {
            packed.push(&[name]);
        }
        let mut request = Request::new(7, packed);
        change(&mut request);
        Job::new(request, Box::new(|_| ()))
    }

    /// The names of the commands sent.
    fn sent(job: &mut Job) -> Vec<String> {
        let mut out = Vec::new();
        job.write(&mut out);
        let text = String::from_utf8(out).expect("text");
        text.split("\r\n")
            .filter(|it| !it.is_empty() && !it.starts_with(['*', '$']))
            .map(Into::into)
            .collect()
    }

    #[test]
    fn only_what_was_refused_is_sent_again() {
        let mut job = job(&[b"A", b"B", b"C"], |_| ());
        assert_eq!(sent(&mut job), ["A", "B", "C"]);
        assert_eq!(job.accept(Value::Int(1)), Step::More);
        assert_eq!(job.accept(error("MOVED 7 h:1")), Step::More);
        assert_eq!(job.accept(error("WRONGTYPE no")), Step::Last);
        assert!(!job.complete());
        assert_eq!(job.refused().map(|it| it.kind), Some(Refusal::Moved));
        job.asking = true;
        assert_eq!(sent(&mut job), ["ASKING", "B"]);
        assert_eq!(job.accept(Value::Okay), Step::More);
        assert_eq!(job.accept(Value::Int(2)), Step::Last);
        assert!(job.complete());
        let values: Vec<_> = job.values.iter().flatten().cloned().collect();
        assert_eq!(values, [Value::Int(1), Value::Int(2), error("WRONGTYPE no")]);
    }

    #[test]
    fn what_is_ambiguous_is_replaced() {
        let again = Some(Commands::one(&[b"GUARDED"]));
        let mut job = job(&[b"A", b"B"], |it| it.again = again);
        assert_eq!(sent(&mut job), ["A", "B"]);
        assert_eq!(job.accept(Value::Int(1)), Step::More);
        job.ambiguous();
        assert_eq!(sent(&mut job), ["GUARDED"]);
        assert_eq!(job.accept(error("OOM x")), Step::Last);
        assert_eq!(sent(&mut job), ["GUARDED"]);
        assert_eq!(job.accept(Value::Okay), Step::Last);
        assert!(job.complete() && job.again);
    }

    #[test]
    fn a_transaction_is_refused_as_a_whole() {
        let mut job = job(&[b"A", b"B"], |it| it.atomic = true);
        let queued = || Value::SimpleString("QUEUED".to_owned());
        let outcomes = [
            [
                queued(),
                error("OOM x"),
                error("EXECABORT Transaction discarded because of previous errors."),
            ],
            [queued(), queued(), error("EXECABORT Transaction discarded because of: OOM x")],
            [queued(), queued(), error("OOM x")],
        ];
        for replies in outcomes {
            assert_eq!(sent(&mut job), ["MULTI", "A", "B", "EXEC"]);
            assert_eq!(job.accept(Value::Okay), Step::More);
            let steps = replies.map(|reply| job.accept(reply));
            assert_eq!(steps, [Step::More, Step::More, Step::Last]);
            assert_eq!(job.refused().map(|it| it.kind), Some(Refusal::OutOfMemory));
        }
        sent(&mut job);
        for reply in [Value::Okay, queued(), queued()] {
            assert_eq!(job.accept(reply), Step::More);
        }
        let both = Value::Array(vec![Value::Int(1), error("WRONGTYPE x")]);
        assert_eq!(job.accept(both), Step::Last);
        assert!(job.complete());
    }

    #[test]
    fn a_faulty_command_spoils_its_transaction_only() {
        let mut job = job(&[b"A", b"B"], |it| it.atomic = true);
        sent(&mut job);
        let aborted = error("EXECABORT Transaction discarded because of previous errors.");
        for reply in [Value::Okay, Value::SimpleString("QUEUED".into()), error("ERR unknown")] {
            job.accept(reply);
        }
        assert_eq!(job.accept(aborted.clone()), Step::Last);
        assert!(job.complete());
        assert_eq!(job.values, [Some(aborted), Some(error("ERR unknown"))]);
    }

    #[test]
    fn what_was_carried_out_beside_its_transaction_is_broken() {
        let mut job = job(&[b"A"], |it| it.atomic = true);
        sent(&mut job);
        job.accept(error("NOAUTH Authentication required."));
        assert_eq!(job.accept(Value::Int(1)), Step::Broken);
    }
}
