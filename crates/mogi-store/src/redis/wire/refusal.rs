//! Which errors are a state of the server, and not the command's fault.

use super::notice::Refusal;

/// Why the server does not carry out *any* such command now; `None` if it is this command that
/// is wrong. A command that is refused has changed nothing.
pub(super) fn refusal(text: &str) -> Option<Refusal> {
    Some(match text.split(' ').next().unwrap_or_default() {
        "MOVED" | "ASK" => Refusal::Moved,
        "TRYAGAIN" => Refusal::TryAgain,
        "CLUSTERDOWN" => Refusal::ClusterDown,
        "LOADING" => Refusal::Loading,
        "READONLY" | "MASTERDOWN" => Refusal::Replica,
        "NOREPLICAS" => Refusal::NoReplicas,
        "OOM" => Refusal::OutOfMemory,
        "MISCONF" => Refusal::CannotSave,
        "BUSY" => Refusal::Busy,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Refusal::Login,
        "ERR" if text.starts_with("ERR Function not found") => Refusal::NoFunction,
        _ => return None,
    })
}

/// Where a `MOVED` or `ASK` points: whether it is `ASK`, the host (empty: the same) and port.
pub(super) fn redirect(text: &str) -> Option<(bool, &str, u16)> {
    let mut words = text.split(' ');
    let ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    // "?" is a node that does not know its own name.
    let host = if host == "?" { "" } else { host };
    Some((ask, host, port.parse().ok()?))
}

/// What stands behind an `EXECABORT`, if that says it.
pub(super) fn behind_abort(text: &str) -> Option<&str> {
    text.strip_prefix("EXECABORT Transaction discarded because of: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_from_faults() {
        assert_eq!(refusal("OOM command not allowed"), Some(Refusal::OutOfMemory));
        assert_eq!(refusal("CLUSTERDOWN Hash slot not served"), Some(Refusal::ClusterDown));
        assert_eq!(refusal("ERR Function not found"), Some(Refusal::NoFunction));
        assert_eq!(refusal("ERR syntax error"), None);
        assert_eq!(refusal("FENCED epoch 3"), None);
        assert_eq!(refusal("OOMPH"), None);
        assert_eq!(refusal(""), None);
    }

    #[test]
    fn redirections_name_a_node() {
        assert_eq!(redirect("MOVED 3999 127.0.0.1:6381"), Some((false, "127.0.0.1", 6381)));
        assert_eq!(redirect("ASK 3999 ::1:6381"), Some((true, "::1", 6381)));
        assert_eq!(redirect("MOVED 3999 :6381"), Some((false, "", 6381)));
        assert_eq!(redirect("MOVED 3999 ?:6381"), Some((false, "", 6381)));
        assert_eq!(redirect("MOVED 3999"), None);
        assert_eq!(redirect("OOM 3999 a:1"), None);
    }

    #[test]
    fn an_aborted_transaction_may_say_why() {
        let text = "EXECABORT Transaction discarded because of: OOM command not allowed";
        assert_eq!(behind_abort(text).and_then(refusal), Some(Refusal::OutOfMemory));
        assert_eq!(
            behind_abort("EXECABORT Transaction discarded because of previous errors."),
            None
        );
    }
}
