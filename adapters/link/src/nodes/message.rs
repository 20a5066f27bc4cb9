//! What is said over the link, as JSON.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// The most Pods of one [`ToReader::Read`].
pub const PODS: usize = 2048;

/// What a reader says, and whoever checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ToDaemon {
    /// The first message of a reader.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The node that it reads.
        node: NodeName,
    },
    /// The only message of who wants to know which nodes have a reader.
    Check {
        /// [`VERSION`].
        version: u32,
    },
    /// What it was asked for.
    Readings {
        /// Of the Pods that were asked for those that it knows.
        pods: Vec<PodReading>,
    },
}

/// What a daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ToReader {
    /// These are to be read now.
    Read {
        /// At most [`PODS`].
        pods: Vec<PodUid>,
    },
    /// Answers [`ToDaemon::Check`].
    Connected {
        /// The nodes with a reader.
        nodes: Vec<NodeName>,
    },
}

/// What a Pod used so far, or in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodReading {
    /// Which Pod.
    pub uid: PodUid,
    /// Processor time of all processes that ever were in it, in core-microseconds.
    pub cpu_us: u64,
    /// Whether its cgroup is still there, so that more may come.
    pub there: bool,
    /// Whether it was read after the last process was gone.
    pub whole: bool,
}

/// A Pod's uid: 1 to 63 letters, digits and dashes. It is looked up, and never part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodUid(String);

/// A node's name: 1 to 253 lower-case letters, digits, dashes and dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// A text that is not a Pod's uid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a Pod's uid: 1 to 63 letters, digits and dashes")]
pub struct ParsePodUidError;

/// A text that is not a node's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a node's name: 1 to 253 lower-case letters, digits, dashes and dots")]
pub struct ParseNodeNameError;

impl TryFrom<String> for PodUid {
    type Error = ParsePodUidError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let valid = (1..=63).contains(&text.len()) && text.bytes().all(valid);
        if valid { Ok(Self(text)) } else { Err(ParsePodUidError) }
    }
}

impl TryFrom<String> for NodeName {
    type Error = ParseNodeNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let valid = (1..=253).contains(&text.len()) && text.bytes().all(valid);
        if valid { Ok(Self(text)) } else { Err(ParseNodeNameError) }
    }
}

macro_rules! text {
    ($type:ty, $error:ty) => {
        impl FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.to_owned().try_into()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(PodUid, ParsePodUidError);
text!(NodeName, ParseNodeNameError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_uid_or_name_is_not_let_in() {
        for path in ["", "..", "a/b", "a\0", "a b", &"a".repeat(64)] {
            assert_eq!(path.parse::<PodUid>(), Err(ParsePodUidError), "{path}");
        }
        let said = r#"{"read":{"pods":["../../etc"]}}"#;
        assert!(serde_json::from_str::<ToReader>(said).is_err());
        assert!("0b7c2a4e-52a8-4d0c-9f0e-6d0a1c3b5e7f".parse::<PodUid>().is_ok());
        assert!("node-1.example".parse::<NodeName>().is_ok() && "Node 1".parse::<NodeName>().is_err());
    }
}
