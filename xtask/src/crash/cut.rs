//! Networks that are cut: each broker in a network namespace of its own, the rest in another.
//!
//! ```text
//!  the harness's own namespace: clients, Redis (10.213.0.1), a router
//!     │ veth            │ veth            │ veth
//!  broker n0          broker n1         broker n2       10.213.(i + 1).2
//! ```
//! Between two brokers, and between a broker and Redis, the router drops what it is told to; the
//! way between clients and brokers stays. A namespace is held by a process that ends with the
//! harness, however that ends, and with its last process it is gone, and its devices are.

use super::dice::Dice;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// Set in the environment of a harness that has a namespace of its own.
const INSIDE: &str = "MOGI_CRASH_NAMESPACE";
/// What of the router's rules comes before everything else, and where the table of its own
/// addresses goes, which is first otherwise.
const CUT_FIRST: &str = "100";
const LOCAL: &str = "200";
/// How long a cut lasts, in milliseconds: shorter and longer than a lease, which is 2 s.
const LASTS_MS: (u64, u64) = (200, 8_000);

/// Runs the harness once more in a namespace of its own, unless it has one: whether that one kept
/// all promises; `None`: it is this one's turn. Where there are no namespaces nothing is cut.
///
/// # Errors
/// It cannot be run.
pub(super) fn enter() -> Result<Option<bool>> {
    if is_inside() {
        return Ok(None);
    }
    let tried = Command::new("unshare").args(["--net", "ip", "link"]).output();
    let why = match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    if let Some(why) = why {
        println!("crash: no networks are cut: that takes root, and network namespaces ({why})");
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    let status = command.env(INSIDE, "1").status().context("unshare")?;
    Ok(Some(status.success()))
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The networks of all brokers.
pub(super) struct Networks {
    /// Each holds a broker's namespace.
    holders: Vec<Child>,
    cuts: Vec<Cut>,
}

/// Who does not reach whom.
struct Cut {
    a: Ipv4Addr,
    b: Ipv4Addr,
    what: String,
    until_ms: u64,
}

impl Networks {
    /// Makes them, if this is the harness that has a namespace of its own.
    ///
    /// # Errors
    /// The system does not let it.
    pub(super) fn make(brokers: usize) -> Result<Option<Self>> {
        if !is_inside() {
            return Ok(None);
        }
        ip("link set lo up")?;
        ip(&format!("address add {}/32 dev lo", redis_address()))?;
        // Packets for this namespace's own addresses are to meet the rules as well.
        ip(&format!("rule add preference {LOCAL} lookup local"))?;
        ip("rule delete preference 0")?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("ip_forward")?;
        let mut networks = Self { holders: Vec::new(), cuts: Vec::new() };
        (0..brokers).try_for_each(|at| networks.add(at))?;
        Ok(Some(networks))
    }

    fn add(&mut self, at: usize) -> Result<()> {
        // `read` ends with the harness: nobody else has the other end of its input.
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; read -r end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        self.holders.push(holder);
        let holder = self.holders.last_mut().context("a holder")?;
        // Its line says that it is there.
        let mut line = [0];
        let out = holder.stdout.as_mut().context("its output")?;
        std::io::Read::read_exact(out, &mut line).context("no namespace")?;
        let (id, net) = (holder.id().to_string(), format!("10.213.{}", at + 1));
        ip(&format!("link add b{at} type veth peer name hub netns {id}"))?;
        ip(&format!("address add {net}.1/24 dev b{at}"))?;
        ip(&format!("link set b{at} up"))?;
        for inside in [
            "link set lo up".to_owned(),
            format!("address add {}/24 dev hub", broker_address(at)),
            "link set hub up".to_owned(),
            format!("route add default via {net}.1"),
        ] {
            let mut command = Command::new("nsenter");
            command.args(["-t", &id, "-n", "ip"]).args(inside.split(' '));
            ensure!(command.status()?.success(), "ip {inside}");
        }
        Ok(())
    }

    /// What runs a program in a broker's network.
    pub(super) fn wrapper(&self, at: usize) -> Vec<String> {
        let id = self.holders[at].id().to_string();
        ["nsenter", "-t", &id, "-n", "--"].map(ToOwned::to_owned).to_vec()
    }

    /// Cuts something that is whole: what, in words.
    ///
    /// # Errors
    /// The system does not let it.
    pub(super) fn cut(&mut self, dice: &mut Dice, now_ms: u64) -> Result<Option<String>> {
        let brokers = self.holders.len() as u64;
        let (at, other) = (dice.below(brokers) as usize, dice.below(brokers) as usize);
        let (b, name) = match at == other {
            true => (redis_address(), "Redis".to_owned()),
            false => (broker_address(other), format!("n{other}")),
        };
        let a = broker_address(at);
        if self.cuts.iter().any(|cut| (cut.a, cut.b) == (a, b) || (cut.a, cut.b) == (b, a)) {
            return Ok(None);
        }
        let lasts_ms = dice.between(LASTS_MS.0, LASTS_MS.1);
        let what = format!("n{at} from {name}");
        rule("add", a, b)?;
        let text = format!("{what} cut for {lasts_ms} ms");
        self.cuts.push(Cut { a, b, what, until_ms: now_ms + lasts_ms });
        Ok(Some(text))
    }

    /// Heals what is due; what, in words.
    ///
    /// # Errors
    /// The system does not let it.
    pub(super) fn heal(&mut self, now_ms: u64) -> Result<Vec<String>> {
        let due: Vec<Cut> = self.cuts.extract_if(.., |cut| cut.until_ms <= now_ms).collect();
        due.iter().try_for_each(|cut| rule("delete", cut.a, cut.b))?;
        Ok(due.into_iter().map(|cut| format!("{} whole again", cut.what)).collect())
    }

    /// Whether this broker does not reach Redis.
    pub(super) fn is_bereft(&self, at: usize) -> bool {
        let a = broker_address(at);
        self.cuts.iter().any(|cut| cut.a == a && cut.b == redis_address())
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Where a broker is, if it has a network of its own.
pub(super) const fn broker_address(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 213, at as u8 + 1, 2)
}

/// Where brokers with networks of their own find Redis.
pub(super) const fn redis_address() -> Ipv4Addr {
    Ipv4Addr::new(10, 213, 0, 1)
}

/// Both ways: what is answered is dropped as well.
fn rule(verb: &str, a: Ipv4Addr, b: Ipv4Addr) -> Result<()> {
    for (from, to) in [(a, b), (b, a)] {
        ip(&format!("rule {verb} preference {CUT_FIRST} blackhole from {from} to {to}"))?;
    }
    Ok(())
}

fn ip(words: &str) -> Result<()> {
    let status = Command::new("ip").args(words.split(' ')).status().context("ip")?;
    ensure!(status.success(), "ip {words}");
    Ok(())
}
