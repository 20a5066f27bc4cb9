// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Payment} from "../src/Payment.sol";
import {Base} from "./Base.sol";
import {TestToken} from "./TestToken.sol";

/// Properties for all inputs: halmos runs each `check` with symbols in place of its arguments. The states in which
/// they start are all that a channel can be in: opened at any time, under any terms, with or without a claim before,
/// with or without an unlock.
contract Proofs is Base {
    /// How a channel came to where it is.
    struct Past {
        uint128 amount;
        uint96 maxRate;
        uint32 unlockDelay;
        uint256[4] prices;
        uint256[2] usage;
        uint40 openedAt;
        uint40 claimedAt;
        uint40 unlockedAt;
        bool claims;
        bool unlocks;
    }

    function setUp() public override {
        publisher = address(0xA11CE);
        payment = new Payment(1 hours, 90 days);
        token = new TestToken();
        token.mint(publisher, type(uint128).max);
        vm.prank(publisher);
        token.approve(address(payment), type(uint256).max);
        id = payment.channelId(publisher, provider, POD);
    }

    function termsOf(Past memory past) internal view returns (IPayment.Terms memory t) {
        t = terms();
        t.prices = past.prices;
    }

    function happen(Past memory past) internal {
        vm.assume(past.openedAt > 0 && past.openedAt <= past.claimedAt && past.claimedAt <= past.unlockedAt);
        vm.assume(past.unlockedAt < type(uint40).max - 90 days);
        IPayment.Opening memory o = opening(past.amount);
        (o.maxRate, o.unlockDelay, o.terms) = (past.maxRate, past.unlockDelay, termsOf(past));
        vm.warp(past.openedAt);
        open(o);
        vm.warp(past.claimedAt);
        if (past.claims) {
            vm.prank(provider);
            payment.claim(id, 1, o.terms, past.usage, unsigned());
        }
        vm.warp(past.unlockedAt);
        if (past.unlocks) unlock();
    }

    /// claimed' = min(owed, cap, deposited) > claimed; exactly the difference is paid, and nothing else changes.
    function check_a_claim_is_bounded(Past memory past, uint256[2] memory usage, uint40 time) public {
        happen(past);
        vm.assume(time >= past.unlockedAt);
        vm.warp(time);
        IPayment.Terms memory t = termsOf(past);
        IPayment.Channel memory before = payment.channel(id);
        uint256 owed = payment.owed(t.prices, usage);
        uint256 cap = payment.cap(id);
        uint256 balance = token.balanceOf(payout);
        vm.prank(provider);
        uint128 paid = payment.claim(id, 1, t, usage, unsigned());
        IPayment.Channel memory later = payment.channel(id);
        assert(later.claimed > before.claimed);
        assert(later.claimed <= later.deposited && later.claimed <= owed && later.claimed <= cap);
        assert(later.claimed == owed || later.claimed == cap || later.claimed == later.deposited);
        assert(paid == later.claimed - before.claimed);
        assert(token.balanceOf(payout) == balance + paid);
        assert(later.deposited == before.deposited && later.unlockAt == before.unlockAt);
        assert(later.epoch == before.epoch && later.termsHash == before.termsHash);
    }

    /// Only the provider, whoever else calls and with whatever terms.
    function check_only_the_provider_claims(Past memory past, address caller, IPayment.Terms memory t, uint40 time)
        public
    {
        happen(past);
        vm.assume(time >= past.unlockedAt && caller != provider);
        vm.warp(time);
        vm.prank(caller);
        (bool done,) = address(payment).call(abi.encodeCall(IPayment.claim, (id, 1, t, past.usage, unsigned())));
        assert(!done);
    }

    /// The deadline is exactly the agreed delay away, and cannot be moved by another unlock.
    function check_an_unlock_ends_after_the_agreed_delay(Past memory past, uint40 time) public {
        past.unlocks = true;
        happen(past);
        vm.assume(time >= past.unlockedAt);
        assert(payment.channel(id).unlockAt == past.unlockedAt + past.unlockDelay);
        assert(past.unlockDelay >= 1 hours && past.unlockDelay <= 90 days);
        vm.warp(time);
        vm.prank(publisher);
        (bool done,) = address(payment).call(abi.encodeCall(IPayment.unlock, (provider, POD)));
        assert(!done);
    }

    /// No withdrawal before its time; what comes back is what was not claimed, and the channel is closed.
    function check_a_withdrawal_waits_and_refunds_the_rest(Past memory past, address caller, uint40 time) public {
        happen(past);
        vm.assume(time >= past.unlockedAt && caller != address(payment));
        IPayment.Channel memory before = payment.channel(id);
        (uint256 mine, uint256 held) = (token.balanceOf(publisher), token.balanceOf(address(payment)));
        vm.warp(time);
        vm.prank(caller);
        (bool done,) = address(payment).call(abi.encodeCall(IPayment.withdraw, (provider, POD)));
        bool due = caller == publisher && past.unlocks && time >= before.unlockAt;
        assert(done == due);
        uint256 refund = done ? before.deposited - before.claimed : 0;
        assert(token.balanceOf(publisher) == mine + refund);
        assert(token.balanceOf(address(payment)) == held - refund);
        assert((payment.channel(id).openedAt == 0) == done);
    }
}
