// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";

contract UnlockTest is Base {
    function notOpen() internal {
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotOpen.selector, id));
    }

    function test_nothing_is_done_to_a_channel_that_is_not_open() public {
        notOpen();
        payment.unlock(provider, POD);
        notOpen();
        payment.cancelUnlock(provider, POD);
        notOpen();
        payment.withdraw(provider, POD);
    }

    function test_only_the_publisher_unlocks() public {
        open(100);
        bytes32 other = payment.channelId(provider, provider, POD);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotOpen.selector, other));
        payment.unlock(provider, POD);
    }

    function test_unlock_then_withdraw() public {
        open(100);
        uint256 before = token.balanceOf(publisher);
        vm.expectEmit(address(payment));
        emit IPayment.UnlockStarted(id, uint40(clock + DELAY));
        unlock();
        pass(10);
        claim(30);
        pass(DELAY - 10);
        vm.expectEmit(address(payment));
        emit IPayment.Closed(id, 1, 30, 70);
        withdraw();
        eq(token.balanceOf(publisher) - before, 70);
        eq(payment.channel(id).openedAt, 0);
        eq(payment.channel(id).termsHash, 0);
        eq(token.balanceOf(address(payment)), 0);
    }

    function test_withdraw_needs_an_unlock_and_its_end() public {
        open(100);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotUnlocking.selector, id));
        payment.withdraw(provider, POD);
        unlock();
        pass(DELAY - 1);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.StillLocked.selector, id, uint40(clock + 1)));
        payment.withdraw(provider, POD);
    }

    function test_withdraw_of_nothing_ends_the_epoch() public {
        open(100);
        pass(1);
        claim(100);
        unlock();
        pass(DELAY);
        withdraw();
        eq(payment.channel(id).openedAt, 0);
    }

    function test_the_provider_claims_until_the_withdrawal() public {
        open(100);
        pass(1);
        unlock();
        pass(uint256(DELAY) * 2);
        eq(claim(30), 30);
    }

    function test_cancel() public {
        open(100);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotUnlocking.selector, id));
        payment.cancelUnlock(provider, POD);
        unlock();
        pass(DELAY - 1);
        vm.expectEmit(address(payment));
        emit IPayment.UnlockCancelled(id);
        vm.prank(publisher);
        payment.cancelUnlock(provider, POD);
        eq(payment.channel(id).unlockAt, 0);
    }

    function test_an_expired_unlock_is_not_cancelled() public {
        open(100);
        unlock();
        pass(DELAY);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.UnlockExpired.selector, id, uint40(clock)));
        payment.cancelUnlock(provider, POD);
    }
}
