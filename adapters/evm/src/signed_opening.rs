//! Openings that need no allowance before: what the publisher signs for the token goes along with
//! the opening, so that one transaction does.

use crate::abi::{IPayment, Payment, TestToken};
use crate::evm::{Evm, transaction};
use alloy::primitives::{Address, B256, Signature, U256, keccak256};
use alloy::sol;
use alloy::sol_types::{SolCall, SolValue};
use apocryph_model::{Amount, ChainError, TransactionId};
use k256::elliptic_curve::rand_core::{OsRng, RngCore};

/// How long what is signed is good for, in seconds: as long as a transaction may take.
const LASTS: u64 = 3600;

sol! {
    /// Of tokens that know ERC-3009.
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
}

impl Evm {
    /// Opens the channel by an authorization (ERC-3009) or else a permit (EIP-2612); `None` where
    /// the token knows neither, or an allowance is there. An authorization goes first: it leaves no
    /// allowance if the opening fails, and those of several openings do not need to be in order.
    pub(crate) async fn open_signed(
        &self,
        opening: &IPayment::Opening,
    ) -> Result<Option<TransactionId>, ChainError> {
        let (token, amount) = (opening.terms.token, Amount(opening.amount));
        if self.is_allowed(token, amount).await? {
            return Ok(None);
        }
        if let Some(authorization) = self.authorization(token, amount).await? {
            let call = Payment::openWithAuthorizationCall { opening: opening.clone(), authorization };
            if let Some(opened) = self.open_by(&call).await? {
                return Ok(Some(opened));
            }
        }
        let Some(permit) = self.permit(token, amount).await? else {
            return Ok(None);
        };
        self.open_by(&Payment::openWithPermitCall { opening: opening.clone(), permit }).await
    }

    /// `None` where it is refused: some tokens have the functions, but other content to sign.
    async fn open_by<C: SolCall>(&self, call: &C) -> Result<Option<TransactionId>, ChainError> {
        match self.account.execute(self.payment, call).await {
            Ok(receipt) => Ok(Some(transaction(&receipt))),
            Err(ChainError::Reverted(reason)) => {
                tracing::debug!(reason, call = C::SIGNATURE, "the token does not take what was signed");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn authorization(
        &self,
        token: Address,
        value: Amount,
    ) -> Result<Option<IPayment::Authorization>, ChainError> {
        let owner = self.account.address();
        let mut nonce = B256::ZERO;
        OsRng.fill_bytes(nonce.as_mut_slice());
        let asked = authorizationStateCall { authorizer: owner, nonce };
        if known(self.ask_token(token, &asked).await)? != Some(false) {
            return Ok(None);
        }
        let kind = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,\
             uint256 validBefore,bytes32 nonce)",
        );
        let (value, after, before) = (U256::from(value.0), U256::ZERO, self.deadline().await?);
        let content = (kind, owner, self.payment, value, after, before, nonce).abi_encode();
        let signed = self.sign_for(token, &content).await?;
        Ok(signed.map(|signature| IPayment::Authorization {
            validAfter: after,
            validBefore: before,
            nonce,
            v: 27 + u8::from(signature.v()),
            r: signature.r().into(),
            s: signature.s().into(),
        }))
    }

    async fn permit(&self, token: Address, value: Amount) -> Result<Option<IPayment::Permit>, ChainError> {
        let owner = self.account.address();
        let Some(nonce) = known(self.ask_token(token, &TestToken::noncesCall { owner }).await)? else {
            return Ok(None);
        };
        let deadline = self.deadline().await?;
        let kind =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        let content = (kind, owner, self.payment, U256::from(value.0), nonce, deadline).abi_encode();
        let signed = self.sign_for(token, &content).await?;
        Ok(signed.map(|signature| IPayment::Permit {
            deadline,
            v: 27 + u8::from(signature.v()),
            r: signature.r().into(),
            s: signature.s().into(),
        }))
    }

    async fn deadline(&self) -> Result<U256, ChainError> {
        Ok(U256::from(self.newest_time().await?.saturating_add(LASTS)))
    }

    /// The signature of typed data (EIP-712) in the token's domain; `None` where it has none.
    async fn sign_for(&self, token: Address, content: &[u8]) -> Result<Option<Signature>, ChainError> {
        let Some(domain) = known(self.ask_token(token, &TestToken::DOMAIN_SEPARATORCall {}).await)? else {
            return Ok(None);
        };
        let digest = keccak256([&[0x19, 0x01], domain.as_slice(), keccak256(content).as_slice()].concat());
        let signed = self.account.key().sign_digest(digest);
        signed.map(Some).map_err(|error| ChainError::Unavailable(error.to_string()))
    }
}

/// What a function answered that not every token has.
fn known<T>(answer: Result<T, ChainError>) -> Result<Option<T>, ChainError> {
    match answer {
        Err(ChainError::NoContract { .. } | ChainError::Reverted(_)) => Ok(None),
        other => other.map(Some),
    }
}
