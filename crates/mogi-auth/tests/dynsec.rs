//! Dynamic security against what Mosquitto 2.1.2 answered and saved.
//!
//! `dynsec/transcript.txt` holds requests, each with Mosquitto's answer; it began with
//! `dynsec/initial.json`, which it had made itself, and left `dynsec/final.json`.

use mogi_auth::dynsec::{Context, Dynsec, Kick, Login, Outcome};
use mogi_auth::{Access, SALT_BYTES, Verdict, Who};
use serde_json::Value;

const ADMIN: Who<'_> = Who { client_id: "ctrl", username: Some("admin") };

fn handle(dynsec: &mut Dynsec, request: &str) -> Outcome {
    let mut salt = || Some([9; SALT_BYTES]);
    let mut context = Context { salt: &mut salt, connections: &|_| Vec::new() };
    dynsec.handle(&ADMIN, request.as_bytes(), &mut context)
}

fn told(dynsec: &mut Dynsec, request: &str) -> Value {
    serde_json::from_slice(&handle(dynsec, request).response).expect("JSON")
}

/// Answers that differ on purpose.
fn adjust(ours: &mut Value) {
    for response in ours["responses"].as_array_mut().into_iter().flatten() {
        // Mosquitto calls it an internal error.
        if response["error"] == "Client has this role already" {
            response["error"] = "Internal error".into();
        }
    }
}

#[test]
fn requests_are_answered_as_mosquitto_does() {
    let mut dynsec = Dynsec::parse(include_bytes!("dynsec/initial.json")).expect("read");
    let mut lines = include_str!("dynsec/transcript.txt").lines();
    let mut seen = 0;
    while let (Some(request), Some(theirs)) = (lines.next(), lines.next()) {
        let request = request.strip_prefix("> ").expect("a request");
        let mut ours = told(&mut dynsec, request);
        adjust(&mut ours);
        let theirs: Value = serde_json::from_str(theirs).expect("JSON");
        let (ours, theirs) = (&ours["responses"], &theirs["responses"]);
        for at in 0..theirs.as_array().map_or(0, Vec::len) {
            // A group is made with its members; Mosquitto 2.1.2 forgets them.
            let group = &theirs[at]["data"]["group"];
            if group["groupname"] == "g2" && group["textname"] == "a" {
                assert_eq!(ours[at]["data"]["group"]["clients"][0]["username"], "c1");
                continue;
            }
            if theirs[at]["data"]["groups"][0]["textname"] == "a" {
                continue;
            }
            assert_eq!(ours[at], theirs[at], "answer {at} to {request}");
            seen += 1;
        }
        assert_eq!(ours.as_array().map(Vec::len), theirs.as_array().map(Vec::len), "{request}");
    }
    assert!(seen > 150, "{seen}");
    let mut ours: Value = serde_json::from_slice(&dynsec.to_json()).expect("JSON");
    let mut theirs: Value =
        serde_json::from_slice(include_bytes!("dynsec/final.json")).expect("JSON");
    for saved in [&mut ours, &mut theirs] {
        // Mosquitto keeps a rule of createRole whose topic is no filter; addRoleACL refuses it.
        for role in saved["roles"].as_array_mut().into_iter().flatten() {
            let acls = role["acls"].as_array_mut().into_iter();
            acls.for_each(|acls| acls.retain(|acl| acl["topic"] != "a/#/b"));
        }
        // Salts are random.
        for client in saved["clients"].as_array_mut().into_iter().flatten() {
            if let Some(password) = client.get_mut("encoded_password") {
                assert!(password.as_str().is_some_and(|it| it.starts_with("$7$1000$")));
                *password = Value::Null;
            }
        }
    }
    assert_eq!(ours, theirs);
}

/// Another broker that learns of a change by what was saved disconnects whom the one that made it
/// does.
#[test]
fn whom_a_command_concerns_is_seen_from_outside() {
    let mut dynsec = Dynsec::parse(include_bytes!("dynsec/initial.json")).expect("read");
    let mut seen = 0;
    for line in include_str!("dynsec/transcript.txt").lines() {
        let Some(request) = line.strip_prefix("> ") else { continue };
        let commands: Value = serde_json::from_str(request).unwrap_or_default();
        for command in commands["commands"].as_array().into_iter().flatten() {
            // As it is read by others.
            let before = Dynsec::parse(&dynsec.to_json()).expect("read back");
            dynsec = before.clone();
            let request = serde_json::json!({ "commands": [command] }).to_string();
            let outcome = handle(&mut dynsec, &request);
            let after = Dynsec::parse(&dynsec.to_json()).expect("read back");
            let kicks = after.concerned_since(&before);
            let extra: Vec<_> = kicks.difference(&outcome.kicks).collect();
            assert!(extra.is_empty(), "{extra:?} by {command}");
            // Who was named though nothing of theirs has changed may stay.
            for kick in outcome.kicks.difference(&kicks) {
                let Kick::User(name) = kick else { continue };
                let whom = format!(
                    "{{\"commands\":[{{\"command\":\"getClient\",\"username\":\"{name}\"}}]}}"
                );
                let of = |mut of: Dynsec| told(&mut of, &whom);
                assert_eq!(of(before.clone()), of(after.clone()), "{name} by {command}");
            }
            seen += outcome.kicks.len();
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn what_is_saved_is_read_back() {
    for file in
        [&include_bytes!("dynsec/final.json")[..], include_bytes!("files/dynsec-init-2.1.json")]
    {
        let saved = Dynsec::parse(file).expect("read").to_json();
        assert_eq!(Dynsec::parse(&saved).expect("read back").to_json(), saved);
    }
}

#[test]
fn the_file_of_mosquitto_2_0_is_read() {
    let file = br#"{"clients":[{"username":"old","textName":"x","password":
        "Kzk6RAHcvJ8bFpUdSTbWlVcyeQ4z0yrG6oPVm5ePo3IYbOcPBN7uYmqHd1sRz3dTqQJcZ1cVlF0JmFz8d0C0Rw==",
        "salt":"AAAAAAAAAAAAAAAA","iterations":101,"roles":[{"rolename":"gone"}]}]}"#;
    let dynsec = Dynsec::parse(file).expect("read");
    assert!(matches!(dynsec.login("old", "any"), Login::Password(_)));
    assert!(matches!(dynsec.login("new", "any"), Login::Unknown));
}

#[test]
fn files_that_are_none_are_refused() {
    for file in [
        "",
        "[]",
        "{\"clients\":{}}",
        "{\"clients\":[{}]}",
        "{\"clients\":[{\"username\":\"a\",\"encoded_password\":\"$7$x\"}]}",
        "{\"groups\":[{\"groupname\":\"g\",\"roles\":[{}]}]}",
    ] {
        assert!(Dynsec::parse(file.as_bytes()).is_err(), "{file}");
    }
}

#[test]
fn the_first_rule_by_priority_decides() {
    let mut dynsec = Dynsec::parse(b"{}").expect("read");
    let outcome = handle(
        &mut dynsec,
        r##"{"commands":[
        {"command":"createRole","rolename":"low","acls":[
            {"acltype":"publishClientSend","topic":"#","allow":true},
            {"acltype":"subscribePattern","topic":"#","allow":true}]},
        {"command":"createRole","rolename":"high","acls":[
            {"acltype":"publishClientSend","topic":"a/#","allow":false},
            {"acltype":"publishClientSend","topic":"a/ok","priority":1,"allow":true},
            {"acltype":"publishClientSend","topic":"u/%u/%c","allow":true}]},
        {"command":"createRole","rolename":"tame","allowwildcardsubs":false},
        {"command":"createGroup","groupname":"g","roles":[{"rolename":"low"}]},
        {"command":"createClient","username":"u","password":"p",
            "roles":[{"rolename":"high","priority":2}],"groups":[{"groupname":"g"}]},
        {"command":"createClient","username":"t","password":"p",
            "roles":[{"rolename":"tame"}],"groups":[{"groupname":"g"}]}]}"##,
    );
    assert!(outcome.changed, "{}", String::from_utf8_lossy(&outcome.response));
    let ask = |user, access, topic: &str| {
        dynsec.decide(&Who { client_id: "c", username: Some(user) }, access, topic)
    };
    assert_eq!(ask("u", Access::Write, "a/b"), Verdict::Deny);
    assert_eq!(ask("u", Access::Write, "a/ok"), Verdict::Allow);
    assert_eq!(ask("u", Access::Write, "u/u/c"), Verdict::Allow);
    assert_eq!(ask("u", Access::Write, "other"), Verdict::Allow, "through the group");
    assert_eq!(ask("u", Access::Write, "$CONTROL/x"), Verdict::Deny, "never by default");
    assert_eq!(ask("u", Access::Subscribe, "a/#"), Verdict::Allow);
    assert_eq!(ask("u", Access::Subscribe, "$share/g/a"), Verdict::Deny);
    assert_eq!(ask("t", Access::Subscribe, "a/#"), Verdict::Deny, "no wildcards");
    assert_eq!(ask("t", Access::Subscribe, "a"), Verdict::Allow);
    assert_eq!(ask("nobody", Access::Read, "a"), Verdict::Defer);
}

#[test]
fn those_concerned_are_named() {
    let mut dynsec = Dynsec::parse(include_bytes!("dynsec/initial.json")).expect("read");
    let kicks = |dynsec: &mut Dynsec, command: &str| {
        handle(dynsec, &format!("{{\"commands\":[{command}]}}")).kicks
    };
    let user = |name: &str| Kick::User(name.into());
    assert!(kicks(&mut dynsec, r#"{"command":"createClient","username":"a"}"#).is_empty());
    let role = r#"{"command":"addRoleACL","rolename":"client","acltype":"publishClientSend",
        "topic":"x"}"#;
    assert!(kicks(&mut dynsec, role).is_empty());
    let add = r#"{"command":"addClientRole","username":"a","rolename":"client"}"#;
    assert_eq!(kicks(&mut dynsec, add), [user("a")].into());
    let role = r#"{"command":"removeRoleACL","rolename":"client","acltype":"publishClientSend",
        "topic":"x"}"#;
    assert_eq!(kicks(&mut dynsec, role), [user("a")].into());
    let group = r#"{"command":"addGroupRole","groupname":"unauthenticated","rolename":"client"}"#;
    assert_eq!(kicks(&mut dynsec, group), [Kick::Anonymous].into());
    let gone = r#"{"command":"deleteRole","rolename":"client"}"#;
    assert_eq!(kicks(&mut dynsec, gone), [user("a"), Kick::Anonymous].into());
    let logs = handle(
        &mut dynsec,
        r#"{"commands":[{"command":"setClientPassword","username":"a","password":"x"}]}"#,
    )
    .logs;
    assert_eq!(logs, ["dynsec: ctrl/admin | setClientPassword | username=a | password=******"]);
}
