//! What a pod is doing, in plain words.
//!
//! ```text
//!             +--> Refused   it cannot run as it is, or here
//!             |
//! Starting ---+--> Running ----> Ended   a container ended, or the pod was evicted
//! ```

use apocryph_model::{Cause, Fault, Who};
use apocryph_provider::EngineError;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The longest text of the cluster's that is passed on, in characters.
const MOST_WORDS: usize = 300;

/// The code of a user whom the image does not know.
pub(crate) const USER_UNKNOWN: &str = "user-unknown";
/// The code of an image that a node cannot pull.
pub(crate) const IMAGE_PULL: &str = "image-pull";

/// What a pod is doing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PodState {
    /// Not all of its containers have been started; what it waits for, where that is known.
    Starting(Option<Fault>),
    /// All of its containers run.
    Running,
    /// It never ran and never will.
    Refused(EngineError),
    /// It ran, and does not any more as it should.
    Ended(Fault),
}

impl PodState {
    /// As the pod's status says.
    pub(crate) fn of(pod: &Pod) -> Self {
        let statuses = statuses(pod);
        let evicted = pod.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("Evicted"));
        // What an eviction did to the containers is not their own end.
        let terminated = statuses.iter().filter(|_| !evicted).find_map(|status| terminated(pod, status));
        if let Some(state) = terminated.or_else(|| ended_as_a_whole(pod)) {
            return state;
        }
        if let Some(refused) = statuses.iter().find_map(refused) {
            return Self::Refused(refused);
        }
        let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
        let running = |status: &&ContainerStatus| state(status).running.is_some();
        if wanted > 0 && statuses.iter().filter(running).count() == wanted {
            return Self::Running;
        }
        Self::Starting(waiting_for(pod))
    }
}

/// From when to when a pod ran, in milliseconds since 1970: from its first container's start to the
/// first end of any. Whole seconds are all that Kubernetes tells.
pub(crate) fn lifetime(pod: &Pod) -> (Option<u64>, Option<u64>) {
    let statuses = statuses(pod);
    let terminated = |status: &ContainerStatus| state(status).terminated.filter(has_started);
    let started = |status: &ContainerStatus| {
        let running = state(status).running.and_then(|running| running.started_at);
        running.or_else(|| terminated(status).and_then(|terminated| terminated.started_at))
    };
    let finished =
        |status: &ContainerStatus| terminated(status).and_then(|terminated| terminated.finished_at);
    let start = statuses.iter().filter_map(started).map(|time| millis(&time)).min();
    let end = statuses.iter().filter_map(finished).map(|time| millis(&time)).min();
    (start, end)
}

/// Whether any of its containers runs.
pub(crate) fn has_running(pod: &Pod) -> bool {
    statuses(pod).iter().any(|status| state(status).running.is_some())
}

/// Whether it was given time to end; without any it is gone from the cluster at once.
pub(crate) fn has_grace(pod: &Pod) -> bool {
    pod.metadata.deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0)
}

/// Whether this container of its has ended.
pub(crate) fn has_ended(pod: &Pod, container: &str) -> bool {
    let statuses = statuses(pod);
    statuses.iter().any(|status| status.name == container && state(status).terminated.is_some())
}

/// The containers that run, or did.
pub(crate) fn started(pod: &Pod) -> impl Iterator<Item = String> {
    let has = |status: &ContainerStatus| {
        let state = state(status);
        state.running.is_some() || state.terminated.as_ref().is_some_and(has_started)
    };
    statuses(pod).into_iter().filter(has).map(|status| status.name)
}

pub(crate) fn millis(time: &Time) -> u64 {
    u64::try_from(time.0.as_millisecond()).unwrap_or_default()
}

fn statuses(pod: &Pod) -> Vec<ContainerStatus> {
    pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default()
}

fn state(status: &ContainerStatus) -> ContainerState {
    status.state.clone().unwrap_or_default()
}

/// The runtime ends a container that it could not start as if it had run.
fn has_started(terminated: &ContainerStateTerminated) -> bool {
    !matches!(terminated.reason.as_deref(), Some("StartError" | "ContainerCannotRun"))
}

fn terminated(pod: &Pod, status: &ContainerStatus) -> Option<PodState> {
    let terminated = state(status).terminated?;
    let name = &status.name;
    if !has_started(&terminated) {
        let problem = words(terminated.message.as_deref().unwrap_or_default());
        return Some(PodState::Refused(cannot_start(name, &problem)));
    }
    let (cause, text) = match terminated.reason.as_deref() {
        Some("OOMKilled") => {
            let memory = memory(pod, name).unwrap_or_default();
            (
                Cause::OutOfMemory,
                format!("container {name} needed more than its memory, {memory}: give it more"),
            )
        }
        _ => {
            let how = match (terminated.signal, terminated.exit_code) {
                (Some(signal), _) if signal != 0 => format!("was ended by the signal {signal}"),
                (_, code) => format!("ended by itself with exit code {code}"),
            };
            (Cause::ContainerEnded, format!("container {name} {how}: its log may say why"))
        }
    };
    Some(PodState::Ended(Fault::of(cause, text)))
}

fn memory(pod: &Pod, container: &str) -> Option<String> {
    let container = pod.spec.as_ref()?.containers.iter().find(|other| other.name == container)?;
    Some(container.resources.as_ref()?.limits.as_ref()?.get("memory")?.0.clone())
}

/// Evicted, refused by its node, or lost with it.
fn ended_as_a_whole(pod: &Pod) -> Option<PodState> {
    let status = pod.status.as_ref()?;
    if !matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return None;
    }
    let message = words(status.message.as_deref().unwrap_or_default());
    let provider = |code: &str, text: &str| Fault::passing(Who::Provider, code, text);
    Some(match status.reason.as_deref().unwrap_or_default() {
        "Evicted" if message.contains("low on resource") => {
            PodState::Ended(provider("evicted", "the provider's node ran short: start it again"))
        }
        "Evicted" => {
            let text = format!("the pod holds more storage than it asked for: give it more. {message}");
            PodState::Ended(Fault::passing(Who::Publisher, "storage-exceeded", text))
        }
        reason if reason.starts_with("OutOf") || reason.ends_with("AdmissionError") => {
            PodState::Refused(EngineError::Host(no_room(&message)))
        }
        _ => PodState::Ended(provider("replica-lost", "the provider's node failed: start it again")),
    })
}

fn no_room(message: &str) -> Fault {
    let text = format!("no node of the provider has room for the pod: {message}");
    Fault::of(Cause::NoRoom, text)
}

/// What keeps a container from being made, where waiting does not help.
pub(crate) fn refused(status: &ContainerStatus) -> Option<EngineError> {
    let waiting = state(status).waiting?;
    let told = waiting.message.unwrap_or_default();
    let message = words(&told);
    match waiting.reason.as_deref()? {
        "CreateContainerError" | "RunContainerError" if is_about_the_image(&message) => {
            Some(cannot_start(&status.name, &message))
        }
        // The kubelet has tried more than once.
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(EngineError::Host(cannot_pull(&status.name, &told)))
        }
        _ => None,
    }
}

/// The details name the provider's own addresses: all of them are in the log.
pub(crate) fn cannot_pull(container: &str, message: &str) -> Fault {
    tracing::error!(container, message, "a node cannot pull an image");
    let text =
        format!("the provider's nodes cannot pull the image of container {container}: try again later");
    Fault::passing(Who::Provider, IMAGE_PULL, text)
}

const NO_USER: [&str; 3] = ["no users found", "unable to find user", "no matching entries in passwd file"];
const NO_GROUP: [&str; 3] = ["no groups found", "unable to find group", "no matching entries in group file"];

fn is_about_the_image(message: &str) -> bool {
    let known = NO_USER.iter().chain(&NO_GROUP).any(|words| message.contains(words));
    known || message.contains("exec:") || message.contains("no command specified")
}

/// A container that its own image or spec keeps from starting, from the runtime's words.
fn cannot_start(container: &str, problem: &str) -> EngineError {
    let about = |words: &[&str]| words.iter().any(|words| problem.contains(words));
    let (code, text) = if about(&NO_USER) || about(&NO_GROUP) {
        (USER_UNKNOWN, "its image has no such user: use a number, or a name of its /etc/passwd".to_owned())
    } else if about(&["chdir to cwd", "mkdir"]) && !about(&["exec:"]) {
        ("working-dir", format!("its working directory cannot be entered: {problem}"))
    } else {
        ("command", format!("it cannot be started: {problem}"))
    };
    EngineError::Pod(Fault::lasting(Who::Publisher, code, format!("container {container}: {text}")))
}

/// What a pod that has not started waits for.
fn waiting_for(pod: &Pod) -> Option<Fault> {
    let status = pod.status.as_ref()?;
    let unscheduled = status.conditions.as_deref().unwrap_or_default().iter();
    let mut unscheduled =
        unscheduled.filter(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    if let Some(condition) = unscheduled.next() {
        let message = words(condition.message.as_deref().unwrap_or_default());
        return Some(if message.contains("PersistentVolumeClaim") {
            let text = format!("the provider's cluster has not made the pod's volumes: {message}");
            Fault::passing(Who::Provider, "volume-late", text)
        } else {
            no_room(&message)
        });
    }
    let waiting =
        statuses(pod).into_iter().find_map(|status| Some((status.name.clone(), state(&status).waiting?)));
    let (name, waiting) = waiting?;
    let reason = waiting.reason.unwrap_or_default();
    match reason.as_str() {
        "ContainerCreating" | "PodInitializing" | "" => None,
        "ErrImagePull" => Some(cannot_pull(&name, &waiting.message.unwrap_or_default())),
        _ => {
            tracing::warn!(container = name, reason, message = waiting.message, "a container is not made");
            let text = format!("the provider's node cannot make container {name}: {reason}");
            Some(Fault::passing(Who::Provider, "container-not-made", text))
        }
    }
}

/// The cluster's words, bounded and on one line.
pub(crate) fn words(message: &str) -> String {
    let line: String =
        message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Pod {
        let spec = json!({ "containers": [
            { "name": "web", "resources": { "limits": { "memory": "32Mi" } } }, { "name": "db" },
        ] });
        serde_json::from_value(json!({ "spec": spec, "status": status })).unwrap()
    }

    fn with(web: Value, db: Value) -> Pod {
        let status = |name: &str, state: Value| json!({ "name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0 });
        pod(json!({ "phase": "Running", "containerStatuses": [status("web", web), status("db", db)] }))
    }

    fn running() -> Value {
        json!({ "running": { "startedAt": "2026-11-23T10:00:01Z" } })
    }

    fn terminated(reason: &str, message: &str, exit_code: i32) -> Value {
        json!({ "terminated": {
            "reason": reason, "message": message, "exitCode": exit_code,
            "startedAt": "2026-11-23T10:00:00Z", "finishedAt": "2026-11-23T10:00:05Z",
        } })
    }

    fn fault(pod: &Pod) -> Fault {
        match PodState::of(pod) {
            PodState::Starting(Some(fault)) | PodState::Ended(fault) => fault,
            PodState::Refused(EngineError::Pod(fault) | EngineError::Host(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pod_runs_when_all_of_it_runs() {
        assert_eq!(PodState::of(&with(running(), running())), PodState::Running);
        let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
        assert_eq!(PodState::of(&with(running(), creating)), PodState::Starting(None));
        assert_eq!(PodState::of(&pod(json!({}))), PodState::Starting(None));
    }

    #[test]
    fn reasons_are_told_in_plain_words_and_of_whose_they_are() {
        let oom = fault(&with(running(), terminated("Error", "", 3)));
        assert_eq!((oom.who, oom.code.as_str()), (Who::Publisher, "container-ended"));
        assert!(oom.text.contains("container db ended by itself with exit code 3"), "{oom}");
        let oom = fault(&with(terminated("OOMKilled", "", 137), running()));
        assert!(oom.code == "out-of-memory" && oom.text.contains("32Mi"), "{oom}");
        let start =
            fault(&with(terminated("StartError", "exec: \"/bin/none\": no such file", 128), running()));
        assert!(start.code == "command" && start.text.contains("/bin/none"), "{start}");
        let user = json!({ "waiting": { "reason": "CreateContainerError", "message": "no users found" } });
        assert_eq!(fault(&with(user, running())).code, "user-unknown");
        let pull = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "10.0.0.1 refused" } });
        let pull = fault(&with(pull, running()));
        assert!(pull.who == Who::Provider && pull.code == "image-pull" && !pull.text.contains("10.0.0.1"));
        let full = json!({ "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient cpu" },
        ] });
        let full = fault(&pod(full));
        assert!(full.code == "no-room" && full.text.contains("Insufficient cpu"), "{full}");
        let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the total limit" });
        assert_eq!(fault(&pod(evicted)).code, "storage-exceeded");
        let pressure = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." });
        assert_eq!(fault(&pod(pressure)).who, Who::Provider);
    }

    #[test]
    fn a_lifetime_is_from_the_first_start_to_the_first_end() {
        let (start, end) = lifetime(&with(terminated("Error", "", 1), running()));
        assert_eq!(end.unwrap() - start.unwrap(), 5000);
        assert_eq!(lifetime(&with(running(), running())).1, None);
        let never = with(terminated("StartError", "", 128), json!({}));
        assert_eq!((lifetime(&never), started(&never).count()), ((None, None), 0));
    }
}
