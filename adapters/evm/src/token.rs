//! ERC-20 tokens: what they are called, who holds how much, and who may take it.

use crate::abi::TestToken;
use crate::evm::{Evm, no_contract};
use crate::failure::amount;
use alloy::eips::BlockId;
use alloy::primitives::{Address, U256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolCall;
use apocryph_model::{Amount, ChainError};
use apocryph_publisher::Token;

/// The longest symbol that is shown.
const MAX_SYMBOL: usize = 16;
/// More decimals than any token has that people write amounts of.
const MAX_DECIMALS: u8 = 36;
/// How often a payment is tried before its refusal counts.
const ALLOWANCE_TRIES: usize = 5;

impl Evm {
    pub(crate) async fn ask_token<C: SolCall>(
        &self,
        token: Address,
        call: &C,
    ) -> Result<C::Return, ChainError> {
        let answer = self.account.view(token, call, BlockId::latest()).await?;
        answer.ok_or_else(|| no_contract("token", token))
    }

    pub(crate) async fn describe_token(&self, token: Address) -> Result<Token, ChainError> {
        let symbol = self.ask_token(token, &TestToken::symbolCall {}).await?;
        let decimals = self.ask_token(token, &TestToken::decimalsCall {}).await?;
        let legible = !symbol.is_empty() && symbol.chars().all(|c| c.is_ascii_graphic());
        if !legible || symbol.len() > MAX_SYMBOL || decimals > MAX_DECIMALS {
            return Err(no_contract("token", token));
        }
        Ok(Token { address: apocryph_model::Address(token.into_array()), symbol, decimals })
    }

    pub(crate) async fn token_balance(&self, token: Address) -> Result<Amount, ChainError> {
        let call = TestToken::balanceOfCall { account: self.account.address() };
        self.ask_token(token, &call).await.map(amount)
    }

    /// Refuses a payment that the account cannot make.
    pub(crate) async fn expect_balance(&self, token: Address, needed: Amount) -> Result<(), ChainError> {
        let held = self.token_balance(token).await?;
        if held < needed { Err(ChainError::NoBalance { held, needed }) } else { Ok(()) }
    }

    /// Whether the Payment contract may take `needed` already.
    pub(crate) async fn is_allowed(&self, token: Address, needed: Amount) -> Result<bool, ChainError> {
        Ok(self.allowance(token).await? >= needed)
    }

    async fn allowance(&self, token: Address) -> Result<Amount, ChainError> {
        let call = TestToken::allowanceCall { owner: self.account.address(), spender: self.payment };
        self.ask_token(token, &call).await.map(amount)
    }

    /// Makes a call by which the Payment contract takes `needed`, and before that allows it to,
    /// where it may not yet. Another program with the same key may change the allowance in between,
    /// so a refusal counts once it comes again; nothing is sent for what is sure to be refused.
    pub(crate) async fn pay_in<C: SolCall>(
        &self,
        token: Address,
        needed: Amount,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        let mut tries = 1;
        loop {
            match self.allow_and_execute(token, needed, call).await {
                Err(ChainError::Reverted(reason)) if tries < ALLOWANCE_TRIES => {
                    tracing::debug!(reason, "refused, perhaps for want of an allowance");
                }
                done => return done,
            }
            tries += 1;
        }
    }

    async fn allow_and_execute<C: SolCall>(
        &self,
        token: Address,
        needed: Amount,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.allow(token, needed).await?;
        self.account.execute(self.payment, call).await
    }

    /// By a transaction of its own where the Payment contract may not take as much yet. Some tokens
    /// take a new allowance only where none is left: there, and only there, it is set to zero before.
    async fn allow(&self, token: Address, needed: Amount) -> Result<(), ChainError> {
        let allowed = self.allowance(token).await?;
        if allowed >= needed {
            return Ok(());
        }
        match self.approve(token, needed).await {
            Err(ChainError::Reverted(_)) if allowed > Amount::ZERO => {
                self.approve(token, Amount::ZERO).await?;
                self.approve(token, needed).await
            }
            approved => approved,
        }
    }

    async fn approve(&self, token: Address, value: Amount) -> Result<(), ChainError> {
        let call = TestToken::approveCall { spender: self.payment, value: U256::from(value.0) };
        self.account.execute(token, &call).await.map(drop)
    }
}
