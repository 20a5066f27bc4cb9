//! Errors as one line of text, for errors of other layers that carry texts.

use std::error::Error;

/// The error and its causes, joined by colons. Some errors only hold another and say nothing; what an
/// error says of its cause already is not said again.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source()).map(ToString::to_string);
    causes.fold(error.to_string(), |told, cause| match told.as_str() {
        "" => cause,
        so_far if so_far.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
    })
}

/// What is at the root of an error. Transports of libp2p wrap each other's errors in texts of many
/// lines, which say it again and again.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let last = std::iter::successors(error.source(), |cause| (**cause).source()).last();
    last.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;

    #[test]
    fn every_cause_is_told_once() {
        let error = StoreError::Io(std::io::Error::other("the cable is out"));
        let text = "the blob store's files cannot be read or written: the cable is out";
        assert_eq!(with_causes(&error), text);
        let told = std::io::Error::other(format!("twice: {text}"));
        assert_eq!(with_causes(&told), format!("twice: {text}"));
    }

    #[test]
    fn the_root_is_the_last_cause() {
        let error = StoreError::Io(std::io::Error::other("the cable is out"));
        assert_eq!(root_cause(&error), "the cable is out");
        assert_eq!(root_cause(&std::fmt::Error), std::fmt::Error.to_string());
    }
}
