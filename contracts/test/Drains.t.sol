// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";
import {FeeToken} from "./HostileTokens.sol";

/// Ways in which channels of this kind were drained before, each tried here.
contract DrainsTest is Base {
    uint128 internal constant DEPOSIT = 1_000_000_000;

    function test_drain_1_withdrawing_the_whole_deposit_at_once_without_usage() public {
        open(DEPOSIT);
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.NothingDue));
        payment.claim(id, 1, terms(), used(0), unsigned());
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.NothingDue));
        payment.claim(id, 1, terms(), used(DEPOSIT), unsigned());
        pass(1);
        eq(claim(DEPOSIT), 1000);
    }

    function test_drain_2_a_tiny_claim_during_an_unlock_that_ends_the_delay() public {
        open(DEPOSIT);
        unlock();
        uint40 unlockAt = payment.channel(id).unlockAt;
        pass(1);
        claim(1);
        eq(payment.channel(id).unlockAt, unlockAt);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.StillLocked.selector, id, unlockAt));
        payment.withdraw(provider, POD);
    }

    function test_drain_3_a_stale_unlock_time_inherited_by_the_next_channel() public {
        open(DEPOSIT);
        unlock();
        pass(DELAY);
        withdraw();
        open(DEPOSIT);
        eq(payment.channel(id).unlockAt, 0);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotUnlocking.selector, id));
        payment.withdraw(provider, POD);
    }

    function test_drain_4_an_unlock_delay_of_zero_or_without_end() public {
        uint32[4] memory delays = [0, uint32(1 hours - 1), uint32(90 days + 1), type(uint32).max];
        for (uint256 i = 0; i < delays.length; ++i) {
            IPayment.Opening memory o = opening(DEPOSIT);
            o.unlockDelay = delays[i];
            vm.prank(publisher);
            vm.expectRevert(
                abi.encodeWithSelector(
                    IPayment.UnlockDelayOutOfBounds.selector, delays[i], uint32(1 hours), uint32(90 days)
                )
            );
            payment.open(o);
        }
    }

    function test_drain_5_a_repeated_unlock_that_moves_the_deadline() public {
        open(DEPOSIT);
        unlock();
        uint40 unlockAt = payment.channel(id).unlockAt;
        for (uint256 i = 0; i < 2; ++i) {
            pass(DELAY);
            vm.prank(publisher);
            vm.expectRevert(abi.encodeWithSelector(IPayment.AlreadyUnlocking.selector, id, unlockAt));
            payment.unlock(provider, POD);
        }
    }

    function test_drain_6_an_old_total_paid_again_after_reopening() public {
        open(DEPOSIT);
        pass(1);
        claim(500);
        close();
        open(DEPOSIT);
        pass(1);
        refusesOldClaims(terms(), IPayment.Refusal.WrongEpoch, unsigned());
    }

    function test_drain_6_an_old_statement_of_the_meter_paid_again_after_reopening() public {
        IPayment.Opening memory o = opening(DEPOSIT);
        o.terms = meteredTerms();
        open(o);
        pass(1);
        IPayment.Signature memory s = compact(signed(METER_KEY, statement(1, used(500))));
        vm.prank(provider);
        payment.claim(id, 1, o.terms, used(500), s);
        close();
        open(o);
        pass(1);
        refusesOldClaims(o.terms, IPayment.Refusal.WrongEpoch, s);
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.BadSignature));
        payment.claim(id, 2, o.terms, used(500), s);
    }

    /// By every way to claim, in flight while the channel was closed and opened again under the same terms.
    function refusesOldClaims(IPayment.Terms memory t, IPayment.Refusal why, IPayment.Signature memory s) internal {
        vm.prank(provider);
        vm.expectRevert(refused(why));
        payment.claim(id, 1, t, used(500), s);
        vm.prank(provider);
        vm.expectRevert(refused(why));
        payment.settleAndClose(publisher, POD, 1, t, used(500), s);
        IPayment.Terms[] memory all = new IPayment.Terms[](1);
        all[0] = t;
        IPayment.Claim[] memory items = new IPayment.Claim[](1);
        items[0] = IPayment.Claim(id, 0, 1, used(500));
        IPayment.Signature[] memory signatures = new IPayment.Signature[](1);
        signatures[0] = s;
        vm.expectEmit(address(payment));
        emit IPayment.ClaimSkipped(id, why);
        vm.prank(provider);
        payment.claimMany(all, items, signatures);
        eq(payment.channel(id).claimed, 0);
    }

    function test_drain_7_a_former_payee_draining_a_reopened_channel() public {
        IPayment.Opening memory o = opening(DEPOSIT);
        o.terms.payout = stranger;
        open(o);
        close();
        open(DEPOSIT);
        pass(1);
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.WrongTerms));
        payment.claim(id, 2, o.terms, used(1), unsigned());
        vm.prank(stranger);
        vm.expectRevert(refused(IPayment.Refusal.WrongTerms));
        payment.claim(id, 2, o.terms, used(1), unsigned());
    }

    function test_drain_8_a_fee_on_transfer_that_leaves_the_contract_insolvent() public {
        FeeToken fee = new FeeToken();
        fund(fee, publisher);
        IPayment.Opening memory o = opening(1000);
        o.terms.token = fee;
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.WrongAmountReceived.selector, address(fee), 1000, 990));
        payment.open(o);
    }

    /// What is owed is 2^128 to the unit: nothing, where it is cut to 128 bits.
    function owes2To128() internal {
        IPayment.Opening memory o = opening(1000);
        o.podId = keccak256("another");
        o.terms.prices[0] = 1 << 127;
        open(o);
        pass(2);
        bytes32 another = payment.channelId(publisher, provider, o.podId);
        eq(payment.owed(o.terms.prices, used(2e18)), 1 << 128);
        vm.prank(provider);
        eq(payment.claim(another, 1, o.terms, used(2e18), unsigned()), 1000);
    }

    function test_drain_9_truncation_in_a_cast_to_128_bits() public {
        owes2To128();
        IPayment.Opening memory o = opening(type(uint128).max);
        o.maxRate = type(uint96).max;
        for (uint256 i = 0; i < 4; ++i) {
            o.terms.prices[i] = type(uint256).max;
        }
        token.mint(publisher, type(uint128).max);
        open(o);
        token.mint(publisher, 1);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        payment.topUp(id, 1);
        pass(type(uint40).max - clock);
        uint256[2] memory usage = [type(uint256).max, type(uint256).max];
        uint256 cap = uint256(type(uint96).max) * (type(uint40).max - 1_800_000_002) / 1e9;
        ok(payment.owed(o.terms.prices, usage) > type(uint128).max, "owed fits into 128 bits");
        vm.prank(provider);
        eq(payment.claim(id, 1, o.terms, usage, unsigned()), cap);
    }

    function test_drain_10_a_unit_deposited_to_an_id_that_was_never_opened() public {
        fund(token, stranger);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotOpen.selector, id));
        payment.topUp(id, 1);
        open(DEPOSIT);
        eq(payment.channel(id).deposited, DEPOSIT);
    }

    function test_drain_11_a_batch_that_reverts_because_of_one_bad_item() public {
        open(DEPOSIT);
        pass(1);
        IPayment.Terms[] memory all = new IPayment.Terms[](1);
        all[0] = terms();
        IPayment.Claim[] memory items = new IPayment.Claim[](3);
        items[0] = IPayment.Claim(keccak256("no such channel"), 0, 1, used(5));
        items[1] = IPayment.Claim(id, 7, 1, used(5));
        items[2] = IPayment.Claim(id, 0, 1, used(5));
        vm.prank(provider);
        payment.claimMany(all, items, new IPayment.Signature[](0));
        eq(token.balanceOf(payout), 5);
    }

    function test_drain_12_close_paying_another_than_the_publisher() public {
        open(DEPOSIT);
        close();
        eq(token.balanceOf(publisher), 1e30);
        open(DEPOSIT);
        vm.prank(provider);
        payment.settleAndClose(publisher, POD, 2, terms(), used(5), unsigned());
        eq(token.balanceOf(publisher), 1e30);
        eq(token.balanceOf(provider) + token.balanceOf(payout), 0);
    }
}
