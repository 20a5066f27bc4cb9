//! Containers as the kernel shows them: by the cgroups that engines put them in,
//! `/apocryph/<engine>/<replica>/<container>`.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The processes in containers of these names of one engine: id and command line.
///
/// # Errors
/// If /proc cannot be read.
pub fn processes(engine: &str, containers: &[&str]) -> io::Result<Vec<(u32, String)>> {
    in_cgroups(|line| is_within(line, engine, containers))
}

/// The processes of which a line of /proc/<id>/cgroup is ours.
pub(crate) fn in_cgroups(is_ours: impl Fn(&str) -> bool) -> io::Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends while it is looked at is in no container.
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let command = read("cmdline").replace('\0', " ");
        if !command.is_empty() && read("cgroup").lines().any(&is_ours) {
            found.push((id, command.trim_end().to_owned()));
        }
    }
    Ok(found)
}

/// A line of /proc/<id>/cgroup: `hierarchy:controllers:path`.
fn is_within(line: &str, engine: &str, containers: &[&str]) -> bool {
    let parts: Vec<_> = line.rsplit(':').next().unwrap_or_default().split('/').collect();
    let owned = parts.windows(4).find(|parts| parts[0] == "apocryph" && parts[1] == engine);
    owned.is_some_and(|parts| containers.contains(&parts[3]))
}

/// The processor time that the containers of these names used so far, by the kernel's own counters,
/// in microseconds.
///
/// # Errors
/// If there is no such container, or its counter cannot be read.
pub fn cpu_microseconds(engine: &str, containers: &[&str]) -> io::Result<u64> {
    let root = if is_unified() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpuacct" };
    let replicas = fs::read_dir(Path::new(root).join("apocryph").join(engine))?;
    let folders =
        replicas.flatten().flat_map(|replica| containers.iter().map(move |c| replica.path().join(c)));
    let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
    cpu_of(&folders)
}

/// What the cgroups of these folders counted together, in microseconds; at least one must be there.
pub(crate) fn cpu_of(folders: &[PathBuf]) -> io::Result<u64> {
    if folders.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let read = if is_unified() { read_v2 } else { read_v1 };
    folders.iter().map(|folder| read(folder)).sum()
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Linux, "CPU Accounting Controller".
fn read_v1(folder: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(folder.join("cpuacct.usage"))?;
    text.trim().parse().map(|nanoseconds: u64| nanoseconds / 1000).map_err(io::Error::other)
}

/// Linux, "Control Group v2", `cpu.stat`.
fn read_v2(folder: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(folder.join("cpu.stat"))?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    usage.unwrap_or_default().parse().map_err(io::Error::other)
}

/// How long ago a process began, to a hundredth of a second (proc(5): `starttime`, in the 100 ticks
/// a second that Linux shows to programs).
///
/// # Errors
/// If it has ended.
pub fn age(process: u32) -> io::Result<Duration> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 =
        uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).ok_or_else(malformed)?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in parentheses, and may hold blanks.
    let (_, fields) = stat.rsplit_once(") ").ok_or_else(malformed)?;
    let ticks: f64 = fields.split(' ').nth(19).and_then(|ticks| ticks.parse().ok()).ok_or_else(malformed)?;
    Ok(Duration::try_from_secs_f64(uptime - ticks / 100.0).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_known_by_their_path() {
        let line = "4:cpu,cpuacct:/apocryph/demo1/1f2e/redis";
        assert!(is_within(line, "demo1", &["redis"]));
        assert!(is_within("0::/user.slice/apocryph/demo1/1f2e/redis/init", "demo1", &["nginx", "redis"]));
        assert!(!is_within(line, "demo2", &["redis"]));
        assert!(!is_within(line, "demo1", &["nginx"]));
        assert!(!is_within("4:cpu:/apocryph/demo1", "demo1", &["redis"]));
    }

    #[test]
    fn a_process_grows_older() {
        let own = age(std::process::id()).unwrap();
        assert!(own < Duration::from_secs(3600) && age(1).unwrap() >= own);
        assert!(age(u32::MAX).is_err());
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(processes("no-such-engine", &["x"]).unwrap().is_empty());
        assert!(cpu_microseconds("no-such-engine", &["x"]).is_err());
    }
}
