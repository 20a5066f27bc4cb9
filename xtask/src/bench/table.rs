//! The figures as a table for people.

use serde_json::Value;

const HEAD: [&str; 7] = ["figure", "measured", "target", "reached", "peer", "ratio", "runs"];

/// A line for each figure, below a head.
pub(super) fn of(figures: &[Value]) -> String {
    let rows = [HEAD.map(String::from)].into_iter().chain(figures.iter().map(row)).collect::<Vec<_>>();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let line = |row: &[String; HEAD.len()]| {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(figure: &Value) -> [String; HEAD.len()] {
    let unit = text(&figure["unit"]);
    let measured = if figure["value"].is_null() { figure } else { &figure["value"] };
    let peer = match figure["peer"].as_str() {
        Some(peer) => format!("{peer}: {} {unit}", text(&figure["peer_value"])),
        None => String::new(),
    };
    [
        text(&figure["name"]),
        format!("{} {unit}", numbers(measured)),
        numbers(&figure["target"]),
        reached(figure).map(|reached| if reached { "yes" } else { "no" }).unwrap_or_default().into(),
        peer,
        text(&figure["ratio"]),
        text(&figure["runs"]),
    ]
}

/// None where there is no target.
fn reached(figure: &Value) -> Option<bool> {
    let higher = figure["higher_is_better"] == true;
    let within = |own: &Value, target: &Value| {
        let (own, target) = (own.as_f64()?, target.as_f64()?);
        Some(if higher { own >= target } else { own <= target })
    };
    let target = &figure["target"];
    if target.is_object() {
        return Some(within(&figure["p50"], &target["p50"])? && within(&figure["p99"], &target["p99"])?);
    }
    let own = if figure["value"].is_null() { &figure["p50"] } else { &figure["value"] };
    within(own, target)
}

/// One, or median and 99th percentile.
fn numbers(value: &Value) -> String {
    if value.is_object() { format!("{} / {}", text(&value["p50"]), text(&value["p99"])) } else { text(value) }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_reached_by_all_its_parts() {
        let figure = |p50, p99| json!({ "p50": p50, "p99": p99, "target": { "p50": 40, "p99": 80 } });
        assert_eq!(reached(&figure(40, 80)), Some(true));
        assert_eq!(reached(&figure(30, 81)), Some(false));
        assert_eq!(reached(&figure(41, 50)), Some(false));
        let speed = |value| json!({ "value": value, "target": 500, "higher_is_better": true });
        assert_eq!((reached(&speed(600)), reached(&speed(400))), (Some(true), Some(false)));
        assert_eq!(reached(&json!({ "p50": 3.5, "p99": 9, "target": 4 })), Some(true));
        assert_eq!(reached(&json!({ "value": 1, "target": null })), None);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let figures = [
            json!({ "name": "start", "unit": "ms", "p50": 30.5, "p99": 60, "runs": 50, "ratio": 1.5,
                "target": { "p50": 40, "p99": 80 }, "peer": "crun", "peer_value": 20, "higher_is_better": false }),
            json!({ "name": "encryption", "unit": "MB/s", "value": 640, "runs": 7, "ratio": null,
                "target": 500, "peer": null, "higher_is_better": true }),
        ];
        let expected = "\
figure      measured      target   reached  peer         ratio  runs
start       30.5 / 60 ms  40 / 80  yes      crun: 20 ms  1.5    50
encryption  640 MB/s      500      yes                          7";
        assert_eq!(of(&figures), expected);
    }
}
