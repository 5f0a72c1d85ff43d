//! The table as text.

use super::table::{Flag, Group, Takes, all};
use crate::config::Tool;
use std::fmt::Write;

/// Columns the help keeps to.
const WIDTH: usize = 95;

/// Where the descriptions begin.
const INDENT: usize = 30;

/// What `--help` prints.
pub(super) fn text(tool: Tool, program: &str) -> String {
    let (what, usage) = match tool {
        Tool::Pub => (
            "publishes messages to an MQTT broker",
            "-t TOPIC {-m TEXT | -f FILE | -s | -l | -n} [options]",
        ),
        Tool::Sub => {
            ("prints the messages of an MQTT broker", "{-t FILTER | -U FILTER}... [options]")
        }
        Tool::Rr => (
            "publishes a request and prints the response to it",
            "-t TOPIC -e RESPONSE-TOPIC {-m TEXT | -f FILE | -s | -n} [options]",
        ),
        Tool::Ctrl => ("administers an MQTT broker", "[options] MODULE COMMAND..."),
    };
    let mut text = format!("{program} {what}.\n\nUsage: {program} {usage}\n");
    for (group, title) in Group::ALL {
        let mut flags = all().filter(|it| it.group == group && it.is_for(tool));
        let Some(first) = flags.next() else { continue };
        text.push_str(&format!("\n{title}:\n"));
        for flag in std::iter::once(first).chain(flags) {
            describe(&mut text, flag);
        }
    }
    let file = tool.stock_name();
    text.push_str(&format!(
        "\nOptions are also read from $XDG_CONFIG_HOME/{file} or $HOME/.config/{file},\n\
         one on each line; those of the command line win.\n"
    ));
    text
}

/// What `--version` prints.
pub(super) fn version(tool: Tool, program: &str) -> String {
    let (version, stock) = (env!("CARGO_PKG_VERSION"), tool.stock_name());
    format!("{program} version {version} of mogi, like {stock} version 2.1.\n")
}

fn describe(text: &mut String, flag: &Flag) {
    let names = match (flag.short, flag.long) {
        ("", long) => format!("      {long}"),
        (short, "") => format!("  {short}"),
        (short, long) => format!("  {short}, {long}"),
    };
    let value = match flag.takes {
        Takes::Nothing => "",
        Takes::One(value, ..) => value,
        Takes::Property => "PACKET PROPERTY [NAME] VALUE",
    };
    let start = if value.is_empty() { names } else { format!("{names} {value}") };
    let mut column = start.chars().count();
    text.push_str(&start);
    if column + 2 > INDENT {
        text.push('\n');
        column = 0;
    }
    let _ = write!(text, "{:1$}", "", INDENT - column);
    column = INDENT;
    for word in flag.doc.split(' ') {
        let len = word.chars().count() + 1;
        if column + len > WIDTH {
            let _ = write!(text, "\n{:1$}", "", INDENT);
            column = INDENT;
        }
        if column > INDENT {
            text.push(' ');
        }
        text.push_str(word);
        column += len;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_flag_and_stays_narrow() {
        for tool in [Tool::Pub, Tool::Sub, Tool::Rr] {
            let help = text(tool, "mogi x");
            for flag in all().filter(|flag| flag.is_for(tool)) {
                for name in [flag.short, flag.long] {
                    assert!(help.contains(name), "{name} of {tool:?}");
                }
                assert!(!flag.doc.is_empty());
            }
            for line in help.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn no_tool_has_two_flags_of_one_name() {
        for tool in [Tool::Pub, Tool::Sub, Tool::Rr] {
            let flags: Vec<_> = all().filter(|flag| flag.is_for(tool)).collect();
            for (at, flag) in flags.iter().enumerate() {
                for other in &flags[at + 1..] {
                    let same = |a: &str, b: &str| !a.is_empty() && a == b;
                    assert!(!same(flag.short, other.short), "{}", flag.short);
                    assert!(!same(flag.long, other.long), "{}", flag.long);
                }
            }
        }
    }
}
