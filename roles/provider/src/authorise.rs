//! Whether a call is a publisher's own wish. Whatever is missing, the answer is the same: nobody
//! finds out from it which pods there are.

use crate::{Authorisation, Provider};
use apocryph_model::{Address, ChannelId, Fault, Method, PeerId, PodId, Who};
use apocryph_statement::{digest, recover};

/// How far ahead a statement may expire, in seconds. Its nonce is remembered for that long.
const LONGEST_VALIDITY: u64 = 300;

/// A publisher whose statement holds.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) channel: ChannelId,
    pub(crate) publisher: Address,
    pub(crate) peer: PeerId,
}

impl Provider {
    /// Accepts a call for a pod that is known.
    pub(crate) async fn authorise(&self, method: Method, call: &Authorisation) -> Result<Caller, Fault> {
        let signer = self.signer(method, call);
        let known = self.pod(call.statement.channel).await?;
        let pod = known.ok_or_else(refusal)?.pod;
        self.admit(call, signer?, pod).await
    }

    /// Accepts a call for a pod that may be new.
    pub(crate) async fn authorise_new(
        &self,
        method: Method,
        call: &Authorisation,
        pod: PodId,
    ) -> Result<Caller, Fault> {
        let signer = self.signer(method, call)?;
        self.admit(call, signer, pod).await
    }

    /// Who made a statement that fits this call, this provider and this moment.
    fn signer(&self, method: Method, call: &Authorisation) -> Result<Address, Fault> {
        let statement = &call.statement;
        let now = self.now_ms() / 1000;
        let fits = statement.method == method
            && statement.provider == self.settings.peer
            && statement.payload == call.payload
            && statement.expires_at > now
            && statement.expires_at <= now.saturating_add(LONGEST_VALIDITY);
        let signed = digest(statement, self.world.chain.id());
        let signer = recover(signed, &call.signature).map_err(|_| refusal())?;
        if fits { Ok(signer) } else { Err(refusal()) }
    }

    /// Accepts the channel's publisher, once per nonce.
    async fn admit(&self, call: &Authorisation, signer: Address, pod: PodId) -> Result<Caller, Fault> {
        let statement = &call.statement;
        if statement.channel != ChannelId::of(signer, self.world.chain.account(), pod) {
            return Err(refusal());
        }
        let (nonce, expires_at, now) = (statement.nonce, statement.expires_at, self.now_ms() / 1000);
        let fresh = self.ledger(move |ledger| ledger.use_nonce(signer, nonce, expires_at, now)).await?;
        if !fresh {
            return Err(refusal());
        }
        Ok(Caller { channel: statement.channel, publisher: signer, peer: call.peer.clone() })
    }
}

fn refusal() -> Fault {
    Fault::lasting(
        Who::Publisher,
        "unauthorised",
        "the call is not authorised: it must be signed by the pod's publisher for this method, provider \
         and payload, not have been used before, and expire within 5 minutes: check the key, the pod's \
         name, the provider and this machine's clock",
    )
}
