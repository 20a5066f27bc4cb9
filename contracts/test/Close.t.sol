// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";

contract CloseTest is Base {
    function settle(uint256 units) internal returns (uint128, uint128) {
        vm.prank(provider);
        return payment.settleAndClose(publisher, POD, 1, terms(), used(units), unsigned());
    }

    function test_only_the_provider_closes() public {
        open(100);
        bytes32 other = payment.channelId(publisher, stranger, POD);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotOpen.selector, other));
        payment.close(publisher, POD);
    }

    function test_close_gives_everything_unclaimed_back() public {
        open(100);
        pass(1);
        claim(30);
        vm.expectEmit(address(payment));
        emit IPayment.Closed(id, 1, 30, 70);
        vm.prank(provider);
        eq(payment.close(publisher, POD), 70);
        eq(token.balanceOf(publisher), 1e30 - 30);
    }

    function test_settle_and_close_pays_both() public {
        open(100);
        pass(1);
        (uint128 paid, uint128 refunded) = settle(30);
        eq(paid, 30);
        eq(refunded, 70);
        eq(token.balanceOf(payout), 30);
        eq(token.balanceOf(publisher), 1e30 - 30);
    }

    function test_settle_and_close_when_nothing_is_due() public {
        open(100);
        vm.recordLogs();
        (uint128 paid, uint128 refunded) = settle(0);
        eq(paid, 0);
        eq(refunded, 100);
        // The refund and the end: no payment of nothing, which some tokens refuse.
        eq(vm.getRecordedLogs().length, 2);
    }

    function test_settle_and_close_refuses_what_claim_refuses() public {
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.NotOpen));
        payment.settleAndClose(publisher, POD, 1, terms(), used(1), unsigned());
        open(100);
        IPayment.Terms memory t = terms();
        t.payout = provider;
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.WrongTerms));
        payment.settleAndClose(publisher, POD, 1, t, used(1), unsigned());
        eq(payment.channel(id).deposited, 100);
    }

    function test_settle_and_close_needs_the_meters_signature() public {
        IPayment.Opening memory o = opening(100);
        o.terms = meteredTerms();
        open(o);
        pass(1);
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.BadSignature));
        payment.settleAndClose(publisher, POD, 1, o.terms, used(30), unsigned());
        IPayment.Signature memory s = compact(signed(METER_KEY, statement(1, used(30))));
        vm.prank(provider);
        (uint128 paid, uint128 refunded) = payment.settleAndClose(publisher, POD, 1, o.terms, used(30), s);
        eq(paid, 30);
        eq(refunded, 70);
    }
}
