//! Reading YAML within bounds, and telling what is wrong with its form.

use crate::{InvalidManifest, Problem, places::span};
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter, Options, UserMessageFormatter};

/// Reads one document. What aliases unfold to is bounded, so that a small file stays small.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_saphyr::from_str_with_options(text, options())
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 2,
            max_depth: 32,
            max_nodes: 50_000,
            max_events: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 50_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
        },
        emit_comments: false,
        strict_booleans: true,
    }
}

/// Tells what is wrong with the form of `text`.
pub(crate) fn malformed(error: &Error, file: &str, text: &str) -> InvalidManifest {
    let problem = problem(error.without_snippet());
    let place = error.location().map_or((0, 0).into(), |location| span(text, location));
    InvalidManifest::new(file, text, vec![problem.at(place)])
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::AliasError { error, .. } => problem(error.without_snippet()),
        Error::SerdeUnknownField { field, expected, .. } => unknown_field(field, expected),
        Error::SerdeMissingField { field, .. } => missing_field(field),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("this key");
            Problem::new(format!("`{key}` is given twice"), "the second one is here")
                .help("keep one of the two")
        }
        Error::InvalidScalar { ty: "i64" | "int", .. } => {
            Problem::new("this is not a whole number", "expected digits such as 80")
        }
        Error::NullIntoString { .. } => {
            Problem::new("the value is missing", "expected a text").help("write \"\" for an empty text")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            Problem::new("the file unfolds to more than a manifest may hold", "the limit is passed here")
                .help("write values out instead of repeating them by aliases, and nest them less deeply")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Problem::new("the alias refers to a value that contains it", "this never ends")
                .help("write the value out")
        }
        Error::MultipleDocuments { .. } => {
            Problem::new("there is more than one document", "the second one begins here")
                .help("one file holds one pod: put the others into files of their own")
        }
        other => Problem::new(printable(&UserMessageFormatter.format_message(other)), "here"),
    }
}

/// Parts of the file may stand in the parser's message.
fn printable(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).collect()
}

fn unknown_field(field: &str, expected: &[&'static str]) -> Problem {
    let field: String = printable(field).chars().take(64).collect();
    let nearest = expected
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, &field).total_cmp(&strsim::jaro_winkler(b, &field)));
    let label = match nearest.filter(|name| strsim::jaro_winkler(name, &field) > 0.7) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "there is no such field here".into(),
    };
    Problem::new(format!("unknown field `{field}`"), label)
        .help(format!("allowed here: {}", expected.join(", ")))
}

fn missing_field(field: &str) -> Problem {
    let example = match field {
        "name" => "name: web",
        "image" => "image: docker.io/library/nginx:1.27",
        "resources" => "resources: {cpu: 250m, memory: 64Mi, storage: 256Mi}",
        "cpu" => "cpu: 250m",
        "memory" => "memory: 64Mi",
        "storage" => "storage: 256Mi",
        "containers" => "containers: [{name: web, image: .., resources: ..}]",
        "volume" => "volume: data",
        _ => "path: /data",
    };
    Problem::new(format!("`{field}` is missing"), "it belongs here").help(format!("for example: {example}"))
}
