//! Faults, as the details of a gRPC status.

use super::{convert::Malformed, wire};
use apocryph_model::{Fault, Who};
use apocryph_publisher::LinkError;
use prost::Message as _;
use tonic::{Code, Status};

const MAX_CODE: usize = 64;
/// Bytes of a text.
pub(super) const MAX_TEXT: usize = 4096;

impl From<Who> for wire::Party {
    fn from(who: Who) -> Self {
        match who {
            Who::Publisher => Self::Publisher,
            Who::Provider => Self::Provider,
            Who::Chain => Self::Chain,
            Who::Network => Self::Network,
            Who::Internal => Self::Internal,
        }
    }
}

impl From<&Fault> for wire::Fault {
    fn from(fault: &Fault) -> Self {
        Self {
            who: wire::Party::from(fault.who).into(),
            retry: fault.retry,
            code: fault.code.clone(),
            text: fault.text.clone(),
        }
    }
}

impl TryFrom<wire::Fault> for Fault {
    type Error = Malformed;

    fn try_from(wire: wire::Fault) -> Result<Self, Malformed> {
        let who = match wire::Party::try_from(wire.who) {
            Err(_) | Ok(wire::Party::Unspecified) => return Err(Malformed("fault.who")),
            Ok(wire::Party::Publisher) => Who::Publisher,
            Ok(wire::Party::Provider) => Who::Provider,
            Ok(wire::Party::Chain) => Who::Chain,
            Ok(wire::Party::Network) => Who::Network,
            Ok(wire::Party::Internal) => Who::Internal,
        };
        if wire.code.len() > MAX_CODE || wire.text.len() > MAX_TEXT {
            return Err(Malformed("fault"));
        }
        Ok(Self { who, retry: wire.retry, code: wire.code, text: wire.text })
    }
}

/// A fault as the provider answers it.
pub(super) fn to_status(fault: &Fault) -> Status {
    let code = match (fault.who, fault.retry) {
        (Who::Internal, _) => Code::Internal,
        (_, true) => Code::Unavailable,
        (_, false) => Code::FailedPrecondition,
    };
    let text = cut(&fault.text);
    let details = wire::Fault { text: text.into(), ..fault.into() }.encode_to_vec();
    Status::with_details(code, text, details.into())
}

/// The text's beginning, as far as the other side takes it.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// A call that is not even well-formed.
pub(super) fn malformed(problem: Malformed) -> Status {
    to_status(&Fault::lasting(Who::Publisher, "malformed", problem.to_string()))
}

/// A failed call as the publisher sees it: the provider's fault, or else the connection's.
pub(super) fn from_status(status: &Status) -> LinkError {
    if !status.details().is_empty() {
        let fault = wire::Fault::decode(status.details()).map_err(|_| Malformed("fault"));
        return match fault.and_then(Fault::try_from) {
            Ok(fault) => LinkError::Fault(fault),
            Err(problem) => LinkError::Nonsense(problem.to_string()),
        };
    }
    let message: String = status.message().chars().take(MAX_TEXT).collect();
    match status.code() {
        Code::Unimplemented | Code::OutOfRange | Code::DataLoss => LinkError::Nonsense(message),
        Code::ResourceExhausted => {
            let text = "the provider has too many calls of ours under way, or the call is too large";
            LinkError::Fault(Fault::passing(Who::Publisher, "too-many-calls", text))
        }
        _ => LinkError::Broken(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_cross_whole() {
        for who in [Who::Publisher, Who::Provider, Who::Chain, Who::Network, Who::Internal] {
            for retry in [true, false] {
                let fault = Fault { who, retry, code: "channel-too-small".into(), text: "top it up".into() };
                assert_eq!(from_status(&to_status(&fault)), LinkError::Fault(fault));
            }
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let fault = Fault::lasting(Who::Provider, "x", "ä".repeat(MAX_TEXT));
        let LinkError::Fault(read) = from_status(&to_status(&fault)) else { panic!("no fault") };
        assert_eq!(read.text, "ä".repeat(MAX_TEXT / 2));
    }

    #[test]
    fn other_failures_are_the_connections_or_nonsense() {
        assert!(matches!(from_status(&Status::unavailable("gone")), LinkError::Broken(_)));
        assert!(matches!(from_status(&Status::unimplemented("what?")), LinkError::Nonsense(_)));
        let garbage = Status::with_details(Code::Internal, "", vec![0xff; 9].into());
        assert!(matches!(from_status(&garbage), LinkError::Nonsense(_)));
    }
}
