//! What a machine shows of pods and daemons from outside: used to tell that nothing is left of
//! them, and to clean up after a run that failed.
//!
//! Everything that a run makes carries one of its marks in its name: its folder in paths, its
//! prefix in the names of bridges, firewall tables, cgroups and engines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::cluster::Cluster;

/// The marks of one run.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The folder that everything of the run stands in.
    pub folder: PathBuf,
    /// How its bridges begin.
    pub bridges: String,
    /// How its firewall tables begin.
    pub tables: String,
    /// How its cgroups' folders begin, and the names of its engines in a cluster.
    pub cgroups: String,
    /// Where its pods run, if not on this machine.
    pub cluster: Option<Cluster>,
}

/// What is left of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Processes, by id and command line.
    pub processes: Vec<(u32, String)>,
    /// Where something is mounted, the innermost first.
    pub mounts: Vec<PathBuf>,
    /// Bridges, and what is attached to them.
    pub interfaces: Vec<String>,
    /// Tables of nftables, with their families.
    pub tables: Vec<String>,
    /// Folders of cgroups, the innermost first.
    pub cgroups: Vec<PathBuf>,
    /// Namespaces of a cluster.
    pub namespaces: Vec<String>,
}

impl Traces {
    /// Everything that is left, in this mount and network namespace; processes in all.
    ///
    /// # Errors
    /// If /proc or /sys cannot be read, or the cluster does not answer.
    pub fn left(&self) -> io::Result<Left> {
        Ok(Left {
            processes: self.processes()?,
            mounts: self.mounts(&fs::read_to_string("/proc/self/mountinfo")?),
            interfaces: self.interfaces()?,
            tables: self.tables(&list_tables()?),
            cgroups: self.cgroups()?,
            namespaces: self.namespaces()?,
        })
    }

    /// Processes that run in the run's folder or cgroups, or name its folder; not the caller.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn processes(&self) -> io::Result<Vec<(u32, String)>> {
        let ids = names("/proc")?.into_iter().filter_map(|name| name.parse().ok());
        let others = ids.filter(|id| *id != std::process::id());
        Ok(others.filter_map(|id| self.process(id)).collect())
    }

    /// A process that ends while it is looked at is not there.
    fn process(&self, id: u32) -> Option<(u32, String)> {
        let read = |file: &str| fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let alive = !command.is_empty();
        let folder = self.folder.to_string_lossy();
        let ours = command.contains(&*folder) || cgroup.split('/').any(|part| self.is_cgroup(part));
        (alive && ours).then(|| (id, command.trim_end().to_owned()))
    }

    /// The fifth field of every line of mountinfo (see proc(5)) that lies in the folder.
    fn mounts(&self, mountinfo: &str) -> Vec<PathBuf> {
        let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let mut points: Vec<_> = points.filter(|point| point.starts_with(&self.folder)).collect();
        points.reverse();
        points
    }

    fn namespaces(&self) -> io::Result<Vec<String>> {
        self.cluster.as_ref().map_or(Ok(Vec::new()), |cluster| cluster.namespaces(&self.cgroups))
    }

    fn interfaces(&self) -> io::Result<Vec<String>> {
        let names = names("/sys/class/net")?.into_iter();
        Ok(names.filter(|name| self.is_interface(name)).collect())
    }

    fn is_interface(&self, name: &str) -> bool {
        let master = fs::read_link(format!("/sys/class/net/{name}/master")).unwrap_or_default();
        let master = master.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&self.bridges) || master.starts_with(&self.bridges)
    }

    /// Lines such as `table inet name`.
    fn tables(&self, list: &str) -> Vec<String> {
        let tables = list.lines().filter_map(|line| line.strip_prefix("table "));
        let ours =
            tables.filter(|table| table.split(' ').nth(1).is_some_and(|t| t.starts_with(&self.tables)));
        ours.map(str::to_owned).collect()
    }

    fn cgroups(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        self.add_cgroups(Path::new("/sys/fs/cgroup"), false, &mut found)?;
        Ok(found)
    }

    /// Cgroups go while they are looked at: one that is gone is not there.
    fn add_cgroups(&self, folder: &Path, within: bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let within = within || self.is_cgroup(&entry.file_name().to_string_lossy());
            self.add_cgroups(&entry.path(), within, found)?;
            if within {
                found.push(entry.path());
            }
        }
        Ok(())
    }

    fn is_cgroup(&self, name: &str) -> bool {
        name.starts_with(&self.cgroups)
    }
}

impl Left {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// For people: what is left, or "nothing".
impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let processes = self.processes.iter().map(|(id, command)| format!("process {id} ({command})"));
        let mounts = self.mounts.iter().map(|point| format!("mount {}", point.display()));
        let interfaces = self.interfaces.iter().map(|name| format!("interface {name}"));
        let tables = self.tables.iter().map(|name| format!("firewall table {name}"));
        let cgroups = self.cgroups.iter().map(|path| format!("cgroup {}", path.display()));
        let namespaces = self.namespaces.iter().map(|name| format!("namespace {name}"));
        let on_the_machine = processes.chain(mounts).chain(interfaces).chain(tables).chain(cgroups);
        let all: Vec<_> = on_the_machine.chain(namespaces).collect();
        if all.is_empty() { f.write_str("nothing") } else { f.write_str(&all.join(", ")) }
    }
}

/// As far as this user may see them: without the right there are none to see.
fn list_tables() -> io::Result<String> {
    let output = Command::new("nft").args(["list", "tables"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn names(folder: &str) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

#[cfg(test)]
impl Traces {
    /// A process that names the folder, and is seen to.
    pub(crate) fn reader(&self) -> std::process::Child {
        let pipe = self.folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = Command::new("cat").arg(&pipe).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        // The command line is that of before for a moment after the process is spawned.
        while self.processes().unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "the process is not seen");
        }
        reader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(folder: &Path) -> Traces {
        let none = || "none-such".to_owned();
        Traces { folder: folder.into(), bridges: none(), tables: none(), cgroups: none(), cluster: None }
    }

    #[test]
    fn a_process_that_names_the_folder_is_seen_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let traces = traces(folder.path());
        assert!(traces.left().unwrap().is_empty());
        let mut reader = traces.reader();
        assert_eq!(traces.processes().unwrap()[0].0, reader.id());
        assert!(traces.left().unwrap().to_string().starts_with("process "));
        reader.kill().unwrap();
        reader.wait().unwrap();
        assert_eq!(traces.left().unwrap().to_string(), "nothing");
    }

    #[test]
    fn mounts_in_the_folder_are_seen_innermost_first() {
        let mountinfo = "22 1 0:1 / / rw - ext4 /dev/x rw\n\
                         30 22 0:2 / /run/demo rw - tmpfs t rw\n\
                         31 30 0:3 / /run/demo/a rw - overlay o rw\n\
                         32 22 0:4 / /run/demolition rw - tmpfs t rw\n";
        let mounts = traces(Path::new("/run/demo")).mounts(mountinfo);
        assert_eq!(mounts, [Path::new("/run/demo/a"), Path::new("/run/demo")]);
    }

    #[test]
    fn firewall_tables_are_known_by_their_beginning() {
        let traces = Traces { tables: "apocryph_d1".into(), ..traces(Path::new("/x")) };
        let list = "table inet filter\ntable inet apocryph_d1a\ntable ip apocryph_e\n";
        assert_eq!(traces.tables(list), ["inet apocryph_d1a"]);
    }

    #[test]
    fn interfaces_are_known_by_their_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let traces = Traces { bridges: "l".into(), ..traces(folder.path()) };
        assert_eq!(traces.interfaces().unwrap(), ["lo"]);
    }
}
