//! What a double of a provider asks of each call.

use apocryph_model::{Address, ChannelId, Fault, Method, Who};
use apocryph_provider::Authorisation;
use apocryph_statement::{digest, recover};

/// The channel that a call is about, if `publisher` signed for this method and payload on `chain`.
///
/// # Errors
/// [`unauthorised`].
pub fn authorised(
    call: &Authorisation,
    method: Method,
    publisher: Address,
    chain: u64,
) -> Result<ChannelId, Fault> {
    let statement = &call.statement;
    let signer = recover(digest(statement, chain), &call.signature);
    let held = signer == Ok(publisher) && statement.method == method && statement.payload == call.payload;
    if held { Ok(statement.channel) } else { Err(unauthorised()) }
}

/// What the caller is told where a call is not authorised.
pub fn unauthorised() -> Fault {
    Fault::lasting(Who::Publisher, "unauthorised", "not signed for this")
}
