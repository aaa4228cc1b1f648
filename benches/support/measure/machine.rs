use std::fs;
use std::process::Command;
use std::time::Duration;

/// How much memory of this process is in use, as the system counts it.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kibibytes.unwrap_or(0_u64) * 1024
}

/// How long the cores have worked for this process, as Linux counts it: in hundredths of a second.
#[must_use]
pub fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, which ends with the last parenthesis, can have spaces in it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // Those for the process itself, and those for the system on its behalf.
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// What the results were measured on, as names and values.
pub(super) fn describe() -> Vec<(&'static str, String)> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let value =
            |line: &str| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned());
        processor.lines().find_map(value).unwrap_or_default()
    };
    let has = |flag: &str| field("flags").split(' ').any(|other| other == flag).to_string();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("processor", field("model name")),
        ("cores", cores.to_string()),
        ("sha_ni", has("sha_ni")),
        ("load", read("/proc/loadavg")),
        (
            "system",
            format!("{} {}", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")),
        ),
        ("rustc", rustc()),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn rustc() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}
