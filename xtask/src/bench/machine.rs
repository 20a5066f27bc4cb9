//! What the figures were measured on.

use std::fs;
use std::process::Command;

/// A line for each thing that a figure may depend on.
pub(super) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let load = read("/proc/loadavg");
    let lines = [
        ("processor", format!("{cores} cores, {processor}")),
        ("machine", machine(&read("/proc/cpuinfo"), &read("/sys/class/dmi/id/product_name"))),
        ("memory", memory),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("cgroups", cgroups().into()),
        ("runtime", first_line("crun", "--version")),
        ("peer", first_line("nginx", "-v")),
        ("load before", load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
    ];
    lines.map(|(name, text)| format!("{name:<12} {}", text.trim())).join("\n")
}

fn machine(cpuinfo: &str, product: &str) -> String {
    let flags = field(cpuinfo, "flags");
    let kind = if flags.split(' ').any(|flag| flag == "hypervisor") { "virtual" } else { "physical" };
    format!("{kind} {product}")
}

fn cgroups() -> &'static str {
    let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if unified { "version 2" } else { "version 1" }
}

/// The first of `name : value`.
fn field(text: &str, name: &str) -> String {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = values.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    values.next().unwrap_or("unknown").into()
}

fn first_line(program: &str, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return "not there".into() };
    // nginx tells its version on the standard error.
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_machine_says_so() {
        let cpuinfo = "model name\t: Fast\nflags\t\t: fpu hypervisor aes\n";
        assert_eq!(machine(cpuinfo, "Box\n"), "virtual Box\n");
        assert_eq!(machine("flags : fpu\n", "Box"), "physical Box");
        assert_eq!(field(cpuinfo, "model name"), "Fast");
        assert_eq!(field(cpuinfo, "other"), "unknown");
    }
}
