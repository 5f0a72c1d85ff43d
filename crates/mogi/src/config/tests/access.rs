//! Who may come in, and do what: which rules each listener gets.

use super::{plan, read, refusal};
use crate::access::plan::{SetPlan, SourcePlan};
use crate::config::rights::rights;
use std::path::PathBuf;

/// The sources of each listener, in the order they are asked, as text.
fn sources(text: &str) -> Vec<String> {
    let plan = rights(&read(text)).expect("complete");
    let path = |path: &PathBuf| path.display().to_string();
    let one = |source: &SourcePlan| match source {
        SourcePlan::Passwords(file) => format!("passwords {}", path(file)),
        SourcePlan::Acl(file) => format!("acl {}", path(file)),
        SourcePlan::Dynsec => "dynsec".to_owned(),
        SourcePlan::Scram(file) => format!("scram {}", path(file)),
        SourcePlan::Tokens(tokens) => {
            let names = [&tokens.username_claim, &tokens.client_id_claim, &tokens.acl_claim];
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            format!("tokens {}", names.join(" "))
        }
        SourcePlan::Http(http) => {
            format!("http {} {}", http.auth_url, http.acl_url.as_deref().unwrap_or("-"))
        }
    };
    let set = |set: &SetPlan| {
        let sources: Vec<String> = set.sources.iter().map(one).collect();
        format!("{}{}", sources.join(", "), if set.allow_anonymous { "; anybody" } else { "" })
    };
    plan.sets.iter().map(set).collect()
}

#[test]
fn what_is_said_once_counts_for_all_listeners() {
    let text = "password_file p\nlistener 1\nacl_file a\nlistener 2\nlistener_allow_anonymous true";
    assert_eq!(sources(text), ["passwords p, acl a", "passwords p, acl a; anybody"]);
}

#[test]
fn under_per_listener_settings_it_counts_for_the_listener_above() {
    let text = "per_listener_settings true\nlistener 1\npassword_file p\nlistener 2\nacl_file a\n\
                allow_anonymous true\nlistener 3";
    assert_eq!(sources(text), ["passwords p", "acl a; anybody", ""]);
}

#[test]
fn tokens_services_and_scram_come_behind_files() {
    let text = "listener 1\nhttp_auth_url http://h/a\nhttp_acl_url http://h/b\njwt_key_file k\n\
                jwt_clientid_claim device\nscram_file s\npassword_file p\nlistener 2";
    let all = "passwords p, scram s, tokens sub device acl, http http://h/a http://h/b";
    assert_eq!(sources(text), [all, all]);
    let text = "per_listener_settings true\nlistener 1\njwt_secret_file k\n\
                jwt_username_claim u\njwt_acl_claim r\nlistener 2\nhttp_auth_url https://h:1/a";
    assert_eq!(sources(text), ["tokens u  r", "http https://h:1/a -"]);
}

#[test]
fn what_is_wrong_with_tokens_and_services_is_said() {
    for (text, what) in [
        ("http_auth_url ftp://h", "begins with http:// or https://"),
        ("jwt_jwks_url h/keys", "begins with http:// or https://"),
        ("jwt_algorithms none", "'none' is no algorithm"),
        ("jwt_acl read a/#/b", "'jwt_acl'"),
        ("jwt_acl read a/%{sub", "without '}'"),
        ("http_header secret", "NAME: VALUE"),
        ("per_listener_settings true\njwt_key_file a", "requires a listener"),
    ] {
        let told = refusal(text);
        assert!(told.contains(what), "{told}");
    }
    for (text, what) in [
        ("listener 1\nhttp_acl_url http://h", "there is none"),
        ("listener 1\njwt_issuer me", "jwt_secret_file"),
    ] {
        let told = rights(&read(text)).expect_err("incomplete");
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn plugins_of_mosquitto_are_served_and_come_first() {
    let text = "listener 1\nacl_file own\nplugin /x/y/mosquitto_acl_file.so\n\
                plugin_opt_acl_file a\nauth_plugin mosquitto_password_file.so\n\
                auth_opt_password_file p\n";
    assert_eq!(sources(text), ["acl a, passwords p, acl own"]);
    let text = "per_listener_settings true\nlistener 1\nplugin mosquitto_dynamic_security.so\n\
                plugin_opt_config_file d\nlistener 2\nglobal_plugin mosquitto_acl_file.so\n\
                plugin_opt_acl_file a";
    assert_eq!(sources(text), ["dynsec, acl a", "acl a"]);
    let text = "plugin_load pw mosquitto_password_file.so\nplugin_opt_password_file p\nlistener 1\n\
                plugin_use pw\nlistener 2";
    assert_eq!(sources(text), ["passwords p", ""]);
}

#[test]
fn plugins_that_are_not_known_or_incomplete_are_refused() {
    for (text, what) in [
        ("plugin /x/other.so", "'/x/other.so' cannot be loaded"),
        ("plugin_opt_x y", "requires plugin/global_plugin/plugin_load"),
        ("plugin mosquitto_acl_file.so\nplugin_opt_file x", "no option 'file'"),
        ("plugin_load a", "needs a name and a file"),
        ("listener 1\nplugin_use a", "no plugin 'a'"),
        ("acl_file a\nper_listener_settings true", "must be set before any other"),
    ] {
        let told = refusal(text);
        assert!(told.contains(what), "{told}");
    }
    let incomplete = rights(&read("plugin mosquitto_acl_file.so")).expect_err("incomplete");
    assert!(incomplete.contains("needs 'plugin_opt_acl_file'"), "{incomplete}");
    let twice = "plugin mosquitto_dynamic_security.so\nplugin_opt_config_file a\n".repeat(2);
    let told = rights(&read(&twice)).expect_err("two of them");
    assert!(told.contains("second dynamic-security plugin"), "{told}");
}

#[test]
fn anonymous_clients_are_let_in_where_the_file_says_so() {
    let anonymous = |text: &str| -> Vec<bool> {
        let (listeners, settings) = plan(&read(text), 1, String::new()).expect("addresses");
        let table = |rights: u16| &settings.access.sets[usize::from(rights)];
        listeners.iter().map(|listener| table(listener.core.rights).allow_anonymous).collect()
    };
    assert_eq!(anonymous(""), [true]);
    assert_eq!(anonymous("allow_anonymous false"), [false]);
    assert_eq!(anonymous("listener 1"), [false]);
    assert_eq!(anonymous("listener 1\nlistener 2\nallow_anonymous true"), [true, true]);
    assert_eq!(anonymous("listener 1\nlistener_allow_anonymous true\nlistener 2"), [true, false]);
    let one_of_two = "listener 1\nallow_anonymous true\nlistener_allow_anonymous false";
    assert_eq!(anonymous(one_of_two), [false]);
    let each = "per_listener_settings true\nlistener 1\nlistener 2\nallow_anonymous true";
    assert_eq!(anonymous(each), [false, true]);
    let last = "per_listener_settings true\nlistener 1\nlistener_allow_anonymous false\n\
                allow_anonymous true";
    assert_eq!(anonymous(last), [true]);
}
