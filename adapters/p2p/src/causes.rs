//! Errors as one line of text, for errors of other layers that carry texts.

use std::error::Error;

/// The error and its causes, joined by colons.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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
    }
}
