//! Answers for people, as `mosquitto_ctrl` prints them.

use serde_json::Value;
use std::fmt::Write;

/// What is printed for an answer; `Err`: the command was refused, and why.
pub(super) fn show(answer: &Value) -> Result<String, String> {
    let Some(responses) = answer["responses"].as_array() else {
        let error = answer["error"].as_str().unwrap_or("the answer is none");
        return Err(format!("Error: {error}."));
    };
    let mut text = String::new();
    for response in responses {
        let name = response["command"].as_str().unwrap_or_default();
        if let Some(error) = response["error"].as_str() {
            return Err(format!("{name}: Error: {error}."));
        }
        // Writing into memory does not fail.
        let _ = show_one(&mut text, name, &response["data"]);
    }
    Ok(text)
}

fn show_one(text: &mut String, name: &str, data: &Value) -> std::fmt::Result {
    match name {
        "getClient" => show_client(text, &data["client"]),
        "getGroup" => show_group(text, &data["group"]),
        "getRole" => show_role(text, &data["role"]),
        "getAnonymousGroup" => writeln!(text, "{}", string(&data["group"]["groupname"])),
        "getDefaultACLAccess" => {
            for acl in list(&data["acls"]) {
                writeln!(text, "{:<20} : {}", string(&acl["acltype"]), answer(&acl["allow"]))?;
            }
            Ok(())
        }
        "listClients" => show_names(text, &data["clients"], "username"),
        "listGroups" => show_names(text, &data["groups"], "groupname"),
        "listRoles" => show_names(text, &data["roles"], "rolename"),
        "listPlugins" => show_plugins(text, &data["plugins"]),
        "listListeners" => show_listeners(text, &data["listeners"]),
        _ => Ok(()),
    }
}

fn show_client(text: &mut String, client: &Value) -> std::fmt::Result {
    labelled(text, "Username:    ", string(&client["username"]))?;
    labelled(text, "Clientid:    ", string(&client["clientid"]))?;
    show_text(text, client, 13)?;
    if client["disabled"] == true {
        writeln!(text, "Disabled:    true")?;
    }
    ranked(text, "Roles:       ", &client["roles"], "rolename")?;
    ranked(text, "Groups:      ", &client["groups"], "groupname")?;
    let addresses = list(&client["connections"]);
    for (at, connection) in addresses.iter().enumerate() {
        let label = if at == 0 { "Connections: " } else { "             " };
        writeln!(text, "{label}{}", string(&connection["address"]))?;
    }
    Ok(())
}

fn show_group(text: &mut String, group: &Value) -> std::fmt::Result {
    labelled(text, "Groupname: ", string(&group["groupname"]))?;
    show_text(text, group, 11)?;
    ranked(text, "Roles:     ", &group["roles"], "rolename")?;
    ranked(text, "Clients:   ", &group["clients"], "username")
}

fn show_role(text: &mut String, role: &Value) -> std::fmt::Result {
    labelled(text, "Rolename: ", string(&role["rolename"]))?;
    show_text(text, role, 10)?;
    for (at, acl) in list(&role["acls"]).iter().enumerate() {
        let label = if at == 0 { "ACLs:     " } else { "          " };
        let (kind, topic) = (string(&acl["acltype"]), string(&acl["topic"]));
        let (answer, priority) = (answer(&acl["allow"]), &acl["priority"]);
        writeln!(text, "{label}{kind:<20} : {answer:<5} : {topic} (priority: {priority})")?;
    }
    Ok(())
}

/// Name and description people gave it.
fn show_text(text: &mut String, of: &Value, width: usize) -> std::fmt::Result {
    for (label, field) in [("Textname:", "textname"), ("Description:", "textdescription")] {
        if let Some(value) = of[field].as_str() {
            writeln!(text, "{label:<width$}{value}")?;
        }
    }
    Ok(())
}

fn ranked(text: &mut String, label: &str, of: &Value, name: &str) -> std::fmt::Result {
    for (at, one) in list(of).iter().enumerate() {
        let label = if at == 0 { label } else { &" ".repeat(label.len()) };
        write!(text, "{label}{}", string(&one[name]))?;
        match one["priority"].as_i64() {
            Some(priority) => writeln!(text, " (priority: {priority})")?,
            None => writeln!(text)?,
        }
    }
    Ok(())
}

fn show_names(text: &mut String, of: &Value, name: &str) -> std::fmt::Result {
    for one in list(of) {
        writeln!(text, "{}", one.as_str().unwrap_or_else(|| string(&one[name])))?;
    }
    Ok(())
}

fn show_plugins(text: &mut String, plugins: &Value) -> std::fmt::Result {
    for plugin in list(plugins) {
        writeln!(text, "Plugin:            {}", string(&plugin["name"]))?;
        if let Some(version) = plugin["version"].as_str() {
            writeln!(text, "Version:           {version}")?;
        }
        for (at, topic) in list(&plugin["control-endpoints"]).iter().enumerate() {
            let label = if at == 0 { "Control endpoints: " } else { "                   " };
            writeln!(text, "{label}{}", string(topic))?;
        }
    }
    Ok(())
}

fn show_listeners(text: &mut String, listeners: &Value) -> std::fmt::Result {
    for (at, listener) in list(listeners).iter().enumerate() {
        writeln!(text, "Listener {}:", at + 1)?;
        writeln!(text, "  Port:              {}", listener["port"])?;
        writeln!(text, "  Protocol:          {}", string(&listener["protocol"]))?;
        for (label, field) in
            [("  Socket path:       ", "socket-path"), ("  Bind address:      ", "bind-address")]
        {
            if let Some(value) = listener[field].as_str() {
                writeln!(text, "{label}{value}")?;
            }
        }
        writeln!(text, "  TLS:               {}\n", listener["tls"])?;
    }
    Ok(())
}

fn labelled(text: &mut String, label: &str, value: &str) -> std::fmt::Result {
    writeln!(text, "{}", format!("{label}{value}").trim_end())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn answer(value: &Value) -> &'static str {
    if value == true { "allow" } else { "deny" }
}
