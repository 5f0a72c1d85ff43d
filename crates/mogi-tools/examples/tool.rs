//! The tools without the `mogi` binary: `tool pub -t a -m b`. With `TOOL_ARGV0` set, messages
//! name that program.

use std::ffi::OsString;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let tool = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    let name = tool.to_string_lossy().into_owned();
    let argv0 = std::env::var("TOOL_ARGV0").unwrap_or_else(|_| format!("mogi {name}"));
    let code = match name.as_str() {
        "pub" => mogi_tools::pub_main(argv0, rest),
        "sub" => mogi_tools::sub_main(argv0, rest),
        "rr" => mogi_tools::rr_main(argv0, rest),
        other => {
            eprintln!("usage: tool pub|sub|rr ..., not {other:?}");
            2
        }
    };
    std::process::exit(code);
}
