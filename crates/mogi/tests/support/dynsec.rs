//! Requests of administrators to dynamic security.

use super::{Broker, Client, Dial, Out, V5};
use serde_json::Value;
use std::time::Duration;

/// The first administrator's.
pub const PASSWORD: &str = "a long password";
/// Where requests go.
pub const TOPIC: &str = "$CONTROL/dynamic-security/v1";
/// A broker with dynamic security, for [`super::broker::Setup::conf`]; `first` holds [`PASSWORD`].
pub const CONF: &str = "plugin /usr/lib/mosquitto_dynamic_security.so\n\
    plugin_opt_config_file {dir}/dynsec.json\nplugin_opt_password_init_file {dir}/first\n\
    allow_anonymous false\nlog_type all\nuser root\n";

/// A client whose id is its name, with the password `pw`.
pub fn login(user: &str) -> Dial {
    Dial::new(V5, user).username(user).password("pw")
}

/// The administrator.
pub fn admin(broker: &Broker, id: &str) -> Client {
    broker.connect(&Dial::new(V5, id).username("admin").password(PASSWORD))
}

/// Sends commands; the responses. It may take as long as Redis is waited for.
pub fn ask(admin: &mut Client, commands: &str) -> Vec<Value> {
    admin.stream().set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let request = format!("{{\"commands\":[{commands}]}}");
    assert_eq!(admin.publish_code(Out::new(TOPIC, request).qos(1)), 0);
    let answer: Value = serde_json::from_slice(&admin.expect_publish().payload).expect("JSON");
    answer["responses"].as_array().expect("a list").clone()
}

/// Sends commands that all succeed.
pub fn done(admin: &mut Client, commands: &str) {
    for response in ask(admin, commands) {
        assert!(response.get("error").is_none(), "{response}");
    }
}

/// How many clients there are.
pub fn count(admin: &mut Client) -> u64 {
    ask(admin, r#"{"command":"getDetails"}"#)[0]["data"]["clientCount"].as_u64().expect("a number")
}
