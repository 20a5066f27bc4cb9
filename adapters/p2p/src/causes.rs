//! Errors as one line of text, for errors of other layers that carry texts.

use std::error::Error;

/// The error and its causes, joined by colons. Some errors only hold another and say nothing.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source()).map(ToString::to_string);
    let texts = std::iter::once(error.to_string()).chain(causes).filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join(": ")
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
