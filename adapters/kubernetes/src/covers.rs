//! Whether an object is as it is wanted, so that nothing need be written.

use serde_json::Value;

/// Whether `live` says all that `wanted` says. The API server adds defaults to objects, never to
/// lists: those must be the same.
pub(crate) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| covers(live.get(key).unwrap_or(&Value::Null), wanted))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        // What is empty is not stored.
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (Value::Null, Value::Object(wanted)) => wanted.values().all(|wanted| covers(&Value::Null, wanted)),
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn defaults_are_no_difference_and_changes_are() {
        let wanted = json!({ "spec": { "podSelector": {}, "ingress": [{ "from": [1] }], "none": [] } });
        let mut live = wanted.clone();
        live["spec"]["added"] = "by the server".into();
        live["status"] = json!({});
        live["spec"].as_object_mut().unwrap().remove("none");
        assert!(covers(&live, &wanted));
        live["spec"]["ingress"] = json!([{ "from": [1] }, {}]);
        assert!(!covers(&live, &wanted), "an open door beside ours");
        live["spec"]["ingress"] = json!([{ "from": [2] }]);
        assert!(!covers(&live, &wanted));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_covers_itself(value in json()) {
            prop_assert!(covers(&value, &value));
        }
    }
}
