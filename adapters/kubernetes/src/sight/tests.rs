use super::*;
use crate::objects::tests::{config, prepared};
use futures::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;

/// A pod in the namespace that it has by its channel, and its objects as the API server tells them.
fn pod() -> (Arc<Prepared>, Vec<(ApiResource, DynamicObject)>) {
    let mut pod = prepared();
    pod.namespace = namespace(&config().instance, pod.id);
    let mut objects = objects::standing(&config(), &pod, &Nodes::default());
    objects.push(objects::namespace(&config(), &pod, Some(&pod.digest.hex())));
    let told = |object: objects::Object| (object.resource, serde_json::from_value(object.value).unwrap());
    (Arc::new(pod), objects.into_iter().map(told).collect())
}

/// As another than this engine would make it.
fn changed(object: &DynamicObject) -> DynamicObject {
    let mut changed = object.clone();
    changed.metadata.labels = None;
    changed
}

fn list(sight: &Sight, objects: &[(ApiResource, DynamicObject)]) {
    for (kind, object) in objects {
        sight.observe(kind, object.clone());
    }
    for kind in objects::kinds() {
        sight.is_listed(&kind.kind);
    }
}

fn take_away(sight: &Sight, (kind, object): &(ApiResource, DynamicObject)) {
    sight.gone(kind, &place(object), &object.name_any());
}

#[test]
fn what_was_listed_at_first_is_given_once_and_as_it_is_then() {
    let ((pod, objects), sight) = (pod(), Sight::new(config()));
    list(&sight, &objects);
    assert!(sight.complete().now_or_never().is_none(), "no node has been told");
    sight.is_listed("Node");
    sight.complete().now_or_never().unwrap();
    take_away(&sight, &objects[0]);
    let there = sight.begin(&pod.namespace).there.clone().unwrap();
    assert_eq!(there.len(), objects.len() - 1);
    assert!(namespace_of(&there, &pod.namespace).is_some());
    assert!(sight.begin(&pod.namespace).there.is_none(), "what has been since is not known");
}

#[test]
fn nothing_is_kept_of_what_nobody_wants() {
    let ((pod, objects), sight) = (pod(), Sight::new(config()));
    list(&sight, &[]);
    for (kind, object) in &objects {
        sight.observe(kind, object.clone());
    }
    assert!(sight.begin(&pod.namespace).there.is_none());
    assert!(sight.lock().places.is_empty() && sight.take_suspects().is_empty());
}

#[test]
fn what_is_written_while_it_is_brought_about_raises_no_suspicion() {
    let ((pod, objects), sight) = (pod(), Sight::new(config()));
    let begun = sight.begin(&pod.namespace);
    for (kind, object) in &objects {
        sight.observe(kind, changed(object));
        sight.observe(kind, object.clone());
    }
    begun.want(pod.clone());
    assert!(sight.take_suspects().is_empty());
    assert_eq!(sight.forget(pod.id).map(|pod| pod.id), Some(pod.id));
}

#[test]
fn what_came_to_nothing_leaves_what_was_wanted_and_suspects_it() {
    let ((pod, objects), sight) = (pod(), Sight::new(config()));
    sight.begin(&pod.namespace).want(pod.clone());
    let begun = sight.begin(&pod.namespace);
    take_away(&sight, &objects[1]);
    assert!(sight.wanted(pod.id).is_some() && sight.take_suspects().is_empty());
    drop(begun);
    assert!(sight.wanted(pod.id).is_some());
    assert_eq!(sight.take_suspects(), [pod.id]);
}

#[test]
fn what_no_spec_names_is_suspect_until_it_is_about_to_go() {
    let ((pod, objects), sight) = (pod(), Sight::new(config()));
    sight.begin(&pod.namespace).want(pod.clone());
    let (kind, object) = objects.iter().find(|(kind, _)| kind.kind == "Secret").unwrap();
    let mut other = object.clone();
    other.metadata.name = Some("other".into());
    sight.observe(kind, other.clone());
    assert_eq!(sight.take_suspects(), [pod.id]);
    let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    other.metadata.deletion_timestamp =
        serde_json::from_value(going["metadata"]["deletionTimestamp"].clone()).unwrap();
    sight.observe(kind, other);
    assert!(sight.take_suspects().is_empty());
}

fn node(name: &str, address: &str) -> Node {
    let status = json!({ "addresses": [{ "type": "InternalIP", "address": address }] });
    serde_json::from_value(json!({ "metadata": { "name": name }, "status": status })).unwrap()
}

#[test]
fn a_node_with_a_public_address_concerns_every_pod_and_one_more_without_none() {
    let ((pod, _), sight) = (pod(), Sight::new(config()));
    for number in 1..=3 {
        sight.observe_node(node(&format!("n{number}"), "10.0.0.1"));
    }
    sight.begin(&pod.namespace).want(pod.clone());
    sight.observe_node(node("n4", "10.0.0.4"));
    sight.observe_node(node("n4", "10.0.0.4"));
    assert!(sight.take_suspects().is_empty());
    sight.observe_node(node("n4", "8.8.4.4"));
    assert_eq!(sight.take_suspects(), [pod.id]);
    sight.node_gone("n4");
    assert_eq!(sight.take_suspects(), [pod.id], "nobody's address is kept from it any more");
}

proptest! {
    /// Whatever was told, in whatever order: a pod is suspect for what was told last.
    #[test]
    fn the_last_word_on_every_object_decides(told in proptest::collection::vec((0..8_usize, 0..3), 0..40)) {
        let ((pod, objects), sight) = (pod(), Sight::new(config()));
        sight.begin(&pod.namespace).want(pod.clone());
        let mut last = HashMap::new();
        for (at, how) in told {
            let at = at % objects.len();
            let (kind, object) = &objects[at];
            match how {
                0 => sight.observe(kind, object.clone()),
                1 => sight.observe(kind, changed(object)),
                _ => take_away(&sight, &objects[at]),
            }
            last.insert(at, how == 0);
        }
        let is_suspect = last.values().any(|as_wanted| !as_wanted);
        prop_assert_eq!(sight.suspicion().now_or_never().is_some(), is_suspect);
        prop_assert_eq!(sight.take_suspects().len(), usize::from(is_suspect));
    }
}
