//! From the file's form to the model. Goes on after a problem, so that all are found.

use crate::{Problem, document, places::Places, skeleton::skeleton};
use apocryph_model::{Manifest, SecretSource};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

/// Reads the parts of a document and remembers what is wrong with them.
pub(crate) struct Converter<'a> {
    pub(crate) text: &'a str,
    places: &'a Places,
    pub(crate) secrets: BTreeMap<String, SecretSource>,
    problems: Vec<Problem>,
}

impl<'a> Converter<'a> {
    pub(crate) fn new(text: &'a str, places: &'a Places) -> Self {
        Self { text, places, secrets: BTreeMap::new(), problems: Vec::new() }
    }

    /// The manifest, or everything that is wrong with it.
    pub(crate) fn convert(mut self, pod: document::Pod) -> Result<Manifest, Vec<Problem>> {
        self.read_secrets(pod.secrets);
        let name = self.parse("name", &pod.name);
        let volumes = self.each("volumes", pod.volumes, Self::volume);
        let containers = self.each("containers", pod.containers, Self::container);
        let scale = self.scale(pod.scale);
        let constraints = self.constraints(pod.provider);
        let manifest =
            name.zip(scale).map(|(name, scale)| Manifest { name, containers, volumes, scale, constraints });
        match manifest.filter(|_| self.problems.is_empty()) {
            Some(manifest) => self.check_bounds(&manifest).map(|()| manifest),
            None => Err(self.problems),
        }
    }

    /// Bounds and references are the provider's to insist on: its own check is asked.
    fn check_bounds(mut self, manifest: &Manifest) -> Result<(), Vec<Problem>> {
        for invalid in skeleton(manifest).problems() {
            self.problem(&invalid.path, &invalid.problem, "here");
        }
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    pub(crate) fn problem(&mut self, path: &str, message: impl Display, label: impl Into<String>) {
        let problem = Problem::new(format!("{path}: {message}"), label);
        self.problems.push(problem.at(self.places.at(path)));
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(expected) => {
                let shown: String = text.chars().take(64).collect();
                self.problem(path, format!("{shown:?} is not accepted"), T::Err::to_string(&expected));
                None
            }
        }
    }

    pub(crate) fn parse_optional<T: FromStr<Err: Display>>(
        &mut self,
        path: &str,
        text: Option<&str>,
    ) -> Option<T> {
        text.and_then(|text| self.parse(path, text))
    }

    /// A whole number within bounds.
    pub(crate) fn number<T: TryFrom<i64>>(
        &mut self,
        path: &str,
        value: i64,
        least: i64,
        most: i64,
    ) -> Option<T> {
        let number = T::try_from(value).ok().filter(|_| (least..=most).contains(&value));
        if number.is_none() {
            self.problem(path, format!("{value} is not accepted"), format!("allowed are {least} to {most}"));
        }
        number
    }

    pub(crate) fn each<T, U>(
        &mut self,
        path: &str,
        items: Vec<T>,
        convert: impl Fn(&mut Self, &str, T) -> Option<U>,
    ) -> Vec<U> {
        let items = items.into_iter().enumerate();
        items.filter_map(|(i, item)| convert(self, &format!("{path}[{i}]"), item)).collect()
    }
}
