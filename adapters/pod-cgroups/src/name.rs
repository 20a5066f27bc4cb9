//! How kubelets name cgroups. With the driver `cgroupfs` a Pod's is
//!
//! ```text
//! kubepods/pod<uid>    kubepods/burstable/pod<uid>    kubepods/besteffort/pod<uid>
//! ```
//!
//! and with the driver `systemd`, which takes dashes for folders, and has each name begin with that
//! of the folder it is in,
//!
//! ```text
//! kubepods.slice/kubepods-pod<uid>.slice
//! kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice
//! ```
//!
//! with `_` for each dash of the uid. Where kubelets have a `cgroupRoot`, all of it is in there.

const LONGEST_UID: usize = 63;

/// Whether all Pods of a node are in a cgroup of this name.
pub(crate) fn has_pods(name: &str) -> bool {
    name == "kubepods" || unit(name).is_some_and(|unit| unit == "kubepods" || unit.ends_with("-kubepods"))
}

/// Whether the Pods of one class of service are in a cgroup of this name.
pub(crate) fn is_class(name: &str) -> bool {
    let classes = ["burstable", "besteffort"];
    let part = unit(name).map_or(name, |unit| unit.rsplit('-').next().unwrap_or(unit));
    classes.contains(&part)
}

/// The uid of the Pod whose cgroup has this name.
pub(crate) fn pod_uid(name: &str) -> Option<String> {
    let uid = match unit(name) {
        Some(unit) => unit.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    ((1..=LONGEST_UID).contains(&uid.len()) && uid.bytes().all(valid)).then_some(uid)
}

fn unit(name: &str) -> Option<&str> {
    name.strip_suffix(".slice")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    /// The path that a kubelet gives the cgroup of a Pod: its own rule, the other way round. `classes`
    /// are the names from the root on, without the Pod's.
    pub(crate) fn path(systemd: bool, folders: &[&str], uid: &str) -> PathBuf {
        let pod = format!("pod{uid}");
        let mut names: Vec<&str> = folders.to_vec();
        names.push(&pod);
        if !systemd {
            return names.iter().collect();
        }
        let escaped: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
        (1..=escaped.len()).map(|depth| format!("{}.slice", escaped[..depth].join("-"))).collect()
    }

    #[test]
    fn paths_are_those_of_the_documentation() {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        assert_eq!(text(path(false, &["kubepods", "burstable"], "0-a")), "kubepods/burstable/pod0-a");
        assert_eq!(
            text(path(true, &["kubepods", "burstable"], "0-a")),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0_a.slice"
        );
        assert_eq!(
            text(path(true, &["kubelet", "kubepods"], "0-a")),
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod0_a.slice"
        );
    }

    #[test]
    fn what_is_no_pod_has_no_uid() {
        let container = "cri-containerd-0123.scope";
        for name in ["pod", "podá", "kubepods-pod.slice", "kubepods.slice", "burstable", container, "pod../x"]
        {
            assert_eq!(pod_uid(name), None, "{name}");
        }
        assert_eq!(pod_uid(&format!("pod{}", "a".repeat(64))), None);
        assert!(!is_class("kubepods.slice") && !is_class("kubepods-podburstable.slice"));
        assert!(!has_pods("my-kubepods") && !has_pods("kubepods-besteffort.slice"));
    }

    fn uid() -> impl Strategy<Value = String> {
        // Of the API server's making, and of a static Pod: a hash without dashes.
        prop_oneof!["[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[0-9a-f]{32}"]
    }

    pub(crate) fn folders() -> impl Strategy<Value = Vec<&'static str>> {
        let root = prop_oneof![Just(vec![]), Just(vec!["kubelet"]), Just(vec!["a-b", "c"])];
        let class = prop_oneof![Just(None), Just(Some("burstable")), Just(Some("besteffort"))];
        (root, class).prop_map(|(root, class)| root.into_iter().chain(["kubepods"]).chain(class).collect())
    }

    proptest! {
        #[test]
        fn every_pod_is_known_by_its_uid(systemd: bool, folders in folders(), uid in uid()) {
            let path = path(systemd, &folders, &uid);
            let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap()).collect();
            let root = folders.iter().position(|name| *name == "kubepods").unwrap();
            prop_assert_eq!(names.iter().position(|name| has_pods(name)), Some(root));
            let (pod, above) = names.split_last().unwrap();
            prop_assert_eq!(pod_uid(pod), Some(uid));
            prop_assert!(above[root + 1..].iter().all(|class| is_class(class) && pod_uid(class).is_none()));
        }

        #[test]
        fn no_uid_leads_out_of_a_folder(name in "\\PC{0,80}") {
            if let Some(uid) = pod_uid(&name) {
                prop_assert!(!uid.contains(['/', '.', '\0']) && !uid.is_empty() && uid.len() <= LONGEST_UID);
            }
        }
    }
}
