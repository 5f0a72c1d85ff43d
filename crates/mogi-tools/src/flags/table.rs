//! Every flag of `pub`, `sub` and `rr`.

use super::set;
use super::table_later::LATER;
use super::table_tls::TLS;
use super::value::Values;
use super::{Stop, url};
use crate::config::{Config, Payload, Tool};
use mogi_codec::RetainHandling;

/// One flag.
pub(crate) struct Flag {
    /// Its short form (`-A`); empty where there is none.
    pub(crate) short: &'static str,
    /// Its long form (`--host`); empty where there is none.
    pub(crate) long: &'static str,
    /// The tools that have it: some of `p`, `s`, `r`.
    pub(crate) tools: &'static str,
    pub(crate) takes: Takes,
    pub(crate) group: Group,
    /// What it does, for people.
    pub(crate) doc: &'static str,
    /// Puts it into the configuration.
    pub(crate) apply: fn(&mut Config, Values<'_>) -> Result<(), Stop>,
}

/// What stands behind a flag.
pub(crate) enum Takes {
    Nothing,
    /// One value: its name in the help, the flag's name in messages, and what a message says is
    /// missing.
    One(&'static str, &'static str, &'static str),
    /// Packet, property, and one value or two: `-D`.
    Property,
}

/// The headings of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Connection,
    Session,
    Publish,
    Subscribe,
    Output,
    Will,
    Other,
    Tls,
    Later,
}

impl Group {
    pub(crate) const ALL: [(Self, &str); 9] = [
        (Self::Publish, "What to publish"),
        (Self::Subscribe, "What to receive"),
        (Self::Output, "What to print"),
        (Self::Connection, "Where to connect"),
        (Self::Tls, "How to secure it"),
        (Self::Session, "How to connect"),
        (Self::Will, "The will, sent by the broker if the connection breaks"),
        (Self::Other, "Other"),
        (Self::Later, "Not built yet"),
    ];
}

impl Flag {
    pub(crate) fn is_for(&self, tool: Tool) -> bool {
        // It has what all others have.
        if tool == Tool::Ctrl {
            return self.tools == "psr";
        }
        self.tools.contains(match tool {
            Tool::Pub => 'p',
            Tool::Sub => 's',
            Tool::Rr | Tool::Ctrl => 'r',
        })
    }
}

/// The flag of this name, if the tool has it.
pub(crate) fn find(tool: Tool, name: &str) -> Option<&'static Flag> {
    let fits = |flag: &&Flag| flag.is_for(tool) && (flag.short == name || flag.long == name);
    all().find(fits).filter(|_| !name.is_empty())
}

/// The whole table.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().chain(TLS).chain(LATER)
}

macro_rules! flags {
    ($($tools:literal $group:ident $short:literal $long:literal $takes:expr, $doc:expr,
        $apply:expr;)*) => {
        &[$(Flag {
            short: $short,
            long: $long,
            tools: $tools,
            takes: $takes,
            group: Group::$group,
            doc: $doc,
            apply: $apply,
        },)*]
    };
}
pub(super) use flags;

use Takes::{Nothing, One, Property};

#[rustfmt::skip]
static FLAGS: &[Flag] = flags! {
    // What to publish.
    "p" Publish "-t" "--topic" One("TOPIC", "-t", "no topic"),
        "the topic to publish to",
        |config, it| set::publish_topic(config, it.text()?);
    "r" Publish "-t" "--topic" One("TOPIC", "-t", "no topic"),
        "the topic to send the request to",
        |config, it| set::publish_topic(config, it.text()?);
    "r" Publish "-e" "" One("TOPIC", "-e", "no response topic"),
        "the topic the response will come on",
        |config, it| set::response_topic(config, it.text()?);
    "pr" Publish "-m" "--message" One("TEXT", "-m", "no message"),
        "send this text",
        |config, it| set::payload(config, Payload::Bytes(it.bytes().to_vec()));
    "pr" Publish "-f" "--file" One("FILE", "-f", "no file"),
        "send what the file holds",
        |config, it| set::payload(config, Payload::File(it.path()));
    "pr" Publish "-s" "--stdin-file" Nothing,
        "send all of the standard input as one message",
        |config, _| set::payload(config, Payload::Stdin);
    "p" Publish "-l" "--stdin-line" Nothing,
        "send each line of the standard input as a message",
        |config, _| set::payload(config, Payload::Lines);
    "pr" Publish "-n" "--null-message" Nothing,
        "send an empty message; with -r that deletes the retained one",
        |config, _| set::payload(config, Payload::Bytes(Vec::new()));
    "p" Publish "-q" "--qos" One("0|1|2", "-q", "no QoS"),
        "quality of service to publish with; 0 if not given",
        |config, it| { config.qos = set::qos(it, "Invalid QoS given: ")?; Ok(()) };
    "p" Publish "-r" "--retain" Nothing,
        "have the broker keep the message for later subscribers",
        |config, _| { config.retain = true; Ok(()) };
    "p" Publish "" "--repeat" One("N", "--repeat", "no count"),
        "send the message N times, each when the one before is delivered; not with -l",
        set::repeat;
    "p" Publish "" "--repeat-delay" One("SECONDS", "--repeat-delay", "no time"),
        "wait so long between repeats; fractions are fine",
        set::repeat_delay;

    // What to receive.
    "s" Subscribe "-t" "--topic" One("FILTER", "-t", "no topic"),
        "subscribe to this filter; may be given often",
        |config, it| set::filter(config, it.text()?);
    "s" Subscribe "-T" "--filter-out" One("FILTER", "-T", "no topic filter"),
        "drop messages whose topic matches; may be given often",
        |config, it| set::filter_out(config, it.text()?);
    "s" Subscribe "-U" "--unsubscribe" One("FILTER", "-U", "no unsubscribe topic"),
        "unsubscribe from this filter, after subscribing; may be given often",
        |config, it| set::unsubscribe(config, it.text()?);
    "sr" Subscribe "-q" "--qos" One("0|1|2", "-q", "no QoS"),
        "highest quality of service to receive (and, for a request, to send); 0 if not given",
        |config, it| { config.qos = set::qos(it, "Invalid QoS given: ")?; Ok(()) };
    "s" Subscribe "-C" "" One("N", "-C", "no count"),
        "exit after N messages",
        set::count;
    "s" Subscribe "-E" "" Nothing,
        "exit as soon as the broker has answered the subscriptions",
        |config, _| { config.exit_when_subscribed = true; Ok(()) };
    "sr" Subscribe "-W" "" One("SECONDS", "-W", "no timeout"),
        "exit after so many seconds, with status 27",
        set::timeout;
    "sr" Subscribe "-R" "" Nothing,
        "leave out retained messages, which may be old",
        |config, _| {
            config.no_retained = true;
            // With MQTT 5 the broker need not send them in the first place.
            config.retain_handling = RetainHandling::DoNotSend;
            Ok(())
        };
    "s" Subscribe "" "--retained-only" Nothing,
        "only retained messages; exit at the first other one",
        |config, _| { config.retained_only = true; Ok(()) };
    "s" Subscribe "" "--remove-retained" Nothing,
        "delete every retained message that arrives and is not dropped by -T",
        |config, _| { config.remove_retained = true; Ok(()) };
    "sr" Subscribe "" "--retain-as-published" Nothing,
        "keep the retain flag as the publisher set it (MQTT 5)",
        |config, _| { config.retain_as_published = true; Ok(()) };
    "sr" Subscribe "" "--retain-handling" One("always|new|never", "--retain-handling", "no option"),
        "when the broker sends retained messages: at each subscribe, for new subscriptions, \
         not at all (MQTT 5)",
        set::retain_handling;
    "s" Subscribe "" "--random-filter" One("PERCENT", "--random-filter", "no chance"),
        "print this share of the messages, chosen at random; 0.1 to 100",
        set::random_filter;

    // What to print.
    "sr" Output "-v" "--verbose" Nothing,
        "print the topic before the payload",
        |config, _| { config.verbose = true; Ok(()) };
    "sr" Output "-F" "" One("FORMAT", "-F", "no format"),
        "print messages in this form: %t topic, %p payload, %x payload in hex, %l length, %q QoS, \
         %r retain, %m packet id, %I time, %U unix time, %j JSON, %J JSON with a JSON payload, \
         %A %C %D %E %F %P %R %S properties, @X time as in date +%X",
        set::format;
    "sr" Output "" "--pretty" Nothing,
        "print JSON over several lines",
        |config, _| { config.pretty = true; Ok(()) };
    "sr" Output "-N" "" Nothing,
        "no end of line after each message",
        |config, _| { config.no_newline = true; Ok(()) };
    "s" Output "-w" "--watch" Nothing,
        "keep one line of the screen for each topic",
        |config, _| { config.watch = true; Ok(()) };
    "s" Output "" "--message-rate" Nothing,
        "print how many messages came in each second, and not the messages",
        |config, _| { config.message_rate = true; Ok(()) };
    "r" Output "" "--latency" Nothing,
        "print how long the response took",
        |config, _| { config.latency = true; Ok(()) };
    "psr" Output "-d" "--debug" Nothing,
        "print every packet",
        |config, _| { config.debug = true; Ok(()) };
    "psr" Output "" "--quiet" Nothing,
        "print no errors of the connection",
        |config, _| { config.quiet = true; Ok(()) };

    // Where to connect.
    "psr" Connection "-h" "--host" One("HOST", "-h", "no host"),
        "the broker; localhost if not given",
        |config, it| { config.host = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Connection "-p" "--port" One("PORT", "-p", "no port"),
        "its port; 1883 if not given",
        set::port;
    "psr" Connection "-L" "--url" One("URL", "-L", "no URL"),
        "host, port, user, password and topic at once: mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC",
        url::apply;
    "psr" Connection "" "--unix" One("PATH", "--unix", "no socket path"),
        "connect to this Unix domain socket",
        |config, it| { config.unix = Some(it.path()); Ok(()) };
    "psr" Connection "-A" "" One("ADDRESS", "-A", "no address"),
        "connect from this local address",
        |config, it| { config.bind = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Connection "" "--nodelay" Nothing,
        "send small packets at once (TCP_NODELAY)",
        |config, _| { config.nodelay = true; Ok(()) };
    "psr" Connection "" "--no-tls" Nothing,
        "no TLS, also on port 8883",
        |config, _| { config.no_tls = true; Ok(()) };

    // How to connect.
    "psr" Session "-V" "--protocol-version"
        One("31|311|5", "--protocol-version", "no version"),
        "MQTT version, also written mqttv31, mqttv311, mqttv5; 311 if not given, 5 for requests",
        set::version;
    "psr" Session "-i" "--id" One("ID", "-i", "no id"),
        "client id; random, or the broker's choice, if not given",
        |config, it| { config.client_id = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Session "-I" "--id-prefix" One("PREFIX", "-I", "no id prefix"),
        "client id is this and the process id",
        |config, it| { config.id_prefix = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Session "-u" "--username" One("NAME", "-u", "no username"),
        "user name",
        |config, it| { config.username = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Session "-P" "--pw" One("PASSWORD", "-P", "no password"),
        "password",
        |config, it| { config.password = Some(it.bytes().to_vec()); Ok(()) };
    "psr" Session "-k" "--keepalive" One("SECONDS", "-k", "no keepalive"),
        "keep alive, 5 to 65535; 60 if not given",
        set::keep_alive;
    "psr" Session "-c" "--disable-clean-session" Nothing,
        "keep the session: subscriptions and queued messages outlive the connection; needs -i",
        |config, _| { config.disable_clean_session = true; Ok(()) };
    "psr" Session "-x" "" One("SECONDS", "-x", "no session expiry interval"),
        "the session ends so long after the connection; -1 or \u{221e}: never (MQTT 5)",
        set::session_expiry;
    "psr" Session "-M" "" One("N", "-M", "max_inflight not"),
        "messages of QoS 1 and 2 on their way at once; 20 if not given",
        set::inflight_max;
    "psr" Session "-D" "--property" Property,
        "set a property of a packet (MQTT 5): PACKET is connect, publish, will, subscribe, \
         unsubscribe or disconnect; a user-property has a name and a value",
        super::property::apply;

    // The will.
    "psr" Will "" "--will-topic" One("TOPIC", "--will-topic", "no will topic"),
        "its topic; without one there is no will",
        |config, it| set::will_topic(config, it.text()?);
    "psr" Will "" "--will-payload" One("TEXT", "--will-payload", "no will payload"),
        "its payload; empty if not given",
        |config, it| { config.will.payload = Some(it.bytes().to_vec()); Ok(()) };
    "psr" Will "" "--will-qos" One("0|1|2", "--will-qos", "no will QoS"),
        "its quality of service; 0 if not given",
        |config, it| { config.will.qos = set::qos(it, "Invalid will QoS ")?; Ok(()) };
    "psr" Will "" "--will-retain" Nothing,
        "have the broker keep it",
        |config, _| { config.will.retain = true; Ok(()) };

    // Other.
    "psr" Other "-o" "" One("FILE", "-o", "no options file"),
        "read options from this file instead of the default one",
        // Read before everything else, see `parse`.
        |_, _| Ok(());
    "psr" Other "" "--help" Nothing,
        "print this",
        |_, _| Err(Stop::Help);
    "psr" Other "" "--version" Nothing,
        "print the version",
        |_, _| Err(Stop::Version);
};
