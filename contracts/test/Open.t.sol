// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IPayment} from "../src/IPayment.sol";
import {Payment} from "../src/Payment.sol";
import {Base} from "./Base.sol";
import {FalseToken, TurningToken} from "./HostileTokens.sol";
import {TestToken} from "./TestToken.sol";

contract OpenTest is Base {
    function reverts(IPayment.Opening memory o, bytes memory why) internal {
        vm.prank(publisher);
        vm.expectRevert(why);
        payment.open(o);
    }

    function test_refuses_a_zero_provider() public {
        IPayment.Opening memory o = opening(1);
        o.provider = address(0);
        reverts(o, abi.encodeWithSelector(IPayment.ZeroAddress.selector));
    }

    function test_refuses_a_zero_payout() public {
        IPayment.Opening memory o = opening(1);
        o.terms.payout = address(0);
        reverts(o, abi.encodeWithSelector(IPayment.ZeroAddress.selector));
    }

    function test_refuses_the_publisher_as_provider() public {
        IPayment.Opening memory o = opening(1);
        o.provider = publisher;
        reverts(o, abi.encodeWithSelector(IPayment.SelfDealing.selector));
    }

    function test_refuses_an_amount_of_zero() public {
        reverts(opening(0), abi.encodeWithSelector(IPayment.ZeroAmount.selector));
    }

    function test_refuses_while_open() public {
        open(100);
        reverts(opening(100), abi.encodeWithSelector(IPayment.AlreadyOpen.selector, id));
    }

    function test_refuses_an_address_that_is_no_token() public {
        IPayment.Opening memory o = opening(1);
        o.terms.token = IERC20(address(0x70CE2));
        reverts(o, abi.encodeWithSelector(IPayment.NotAToken.selector, address(0x70CE2)));
        o.terms.token = IERC20(address(0));
        reverts(o, abi.encodeWithSelector(IPayment.NotAToken.selector, address(0)));
    }

    function test_refuses_a_token_that_answers_false() public {
        FalseToken liar = new FalseToken();
        fund(liar, publisher);
        liar.setLying(true);
        IPayment.Opening memory o = opening(1);
        o.terms.token = liar;
        reverts(o, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(liar)));
    }

    function test_refuses_without_allowance() public {
        vm.prank(publisher);
        token.approve(address(payment), 99);
        reverts(
            opening(100),
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(payment), 99, 100)
        );
    }

    function refusesBounds(uint32 min, uint32 max) internal {
        vm.expectRevert(abi.encodeWithSelector(IPayment.InvalidDelayBounds.selector, min, max));
        new Payment(min, max);
    }

    function test_bounds_of_the_unlock_delay_are_bounded_themselves() public {
        refusesBounds(0, 1);
        refusesBounds(2, 1);
        refusesBounds(1, 2 ** 24);
        Payment widest = new Payment(1, 2 ** 24 - 1);
        eq(widest.minUnlockDelay(), 1);
        eq(widest.maxUnlockDelay(), 2 ** 24 - 1);
        eq(new Payment(7, 7).maxUnlockDelay(), 7);
    }

    function test_delays_at_the_bounds_are_taken() public {
        uint32[2] memory delays = [uint32(1 hours), uint32(90 days)];
        for (uint256 i = 0; i < 2; ++i) {
            IPayment.Opening memory o = opening(1);
            (o.podId, o.unlockDelay) = (bytes32(i), delays[i]);
            open(o);
            eq(payment.channel(payment.channelId(publisher, provider, o.podId)).unlockDelay, delays[i]);
        }
    }

    function test_opens_and_tells_everything() public {
        IPayment.Opening memory o = opening(100);
        vm.expectEmit(address(payment));
        emit IPayment.Opened(id, publisher, provider, POD, 1, 100, o.maxRate, DELAY, o.terms);
        open(o);
        IPayment.Channel memory c = payment.channel(id);
        eq(address(c.token), address(token));
        eq(c.deposited, 100);
        eq(c.claimed, 0);
        eq(c.maxRate, o.maxRate);
        eq(c.openedAt, clock);
        eq(c.unlockAt, 0);
        eq(c.unlockDelay, DELAY);
        eq(c.epoch, 1);
        eq(c.termsHash, keccak256(abi.encode(provider, o.terms)));
        eq(c.termsHash, payment.termsHash(provider, o.terms));
        eq(id, keccak256(abi.encode(publisher, provider, POD)));
        eq(token.balanceOf(address(payment)), 100);
    }

    function test_tokens_get_codes_as_they_come() public {
        open(1);
        TestToken second = new TestToken();
        fund(second, publisher);
        IPayment.Opening memory o = opening(1);
        o.podId = keccak256("second");
        o.terms.token = second;
        open(o);
        o.podId = keccak256("third");
        o.terms.token = token;
        open(o);
        eq(payment.codeOf(token), 1);
        eq(payment.codeOf(second), 2);
        eq(address(payment.tokenOf(1)), address(token));
        eq(address(payment.tokenOf(2)), address(second));
        vm.expectRevert(abi.encodeWithSelector(IPayment.UnknownToken.selector, 3));
        payment.tokenOf(3);
    }

    function test_each_opening_begins_an_epoch() public {
        open(1);
        close();
        open(1);
        eq(payment.channel(id).epoch, 2);
    }

    function test_many_channels_are_read_at_once() public {
        open(7);
        bytes32[] memory ids = new bytes32[](2);
        ids[1] = id;
        IPayment.Channel[] memory found = payment.channels(ids);
        eq(found[0].openedAt, 0);
        eq(found[1].deposited, 7);
    }

    function test_too_many_channels_are_not_read_at_once() public {
        vm.expectRevert(abi.encodeWithSelector(IPayment.TooManyItems.selector, 513, 512));
        payment.channels(new bytes32[](513));
    }

    function permit(uint256 key, uint256 value, uint256 deadline) internal view returns (IPayment.Permit memory p) {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 content = keccak256(abi.encode(kind, publisher, address(payment), value, 0, deadline));
        p.deadline = deadline;
        (p.v, p.r, p.s) = vm.sign(key, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), content)));
    }

    function test_opens_with_a_permit() public {
        IPayment.Permit memory p = permit(PUBLISHER_KEY, 100, clock);
        vm.startPrank(publisher);
        token.approve(address(payment), 0);
        payment.openWithPermit(opening(100), p);
        eq(payment.channel(id).deposited, 100);
    }

    function test_a_permit_submitted_by_another_does_no_harm() public {
        vm.prank(publisher);
        token.approve(address(payment), 0);
        IPayment.Permit memory p = permit(PUBLISHER_KEY, 100, clock);
        vm.prank(stranger);
        token.permit(publisher, address(payment), 100, p.deadline, p.v, p.r, p.s);
        vm.prank(publisher);
        payment.openWithPermit(opening(100), p);
        eq(payment.channel(id).deposited, 100);
    }

    function test_an_expired_permit_is_worth_nothing() public {
        IPayment.Permit memory p = permit(PUBLISHER_KEY, 100, clock - 1);
        vm.startPrank(publisher);
        token.approve(address(payment), 0);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(payment), 0, 100)
        );
        payment.openWithPermit(opening(100), p);
    }

    function test_a_replayed_permit_is_worth_nothing() public {
        IPayment.Permit memory p = permit(PUBLISHER_KEY, 100, clock);
        vm.startPrank(publisher);
        payment.openWithPermit(opening(100), p);
        vm.stopPrank();
        close();
        vm.startPrank(publisher);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(payment), 0, 100)
        );
        payment.openWithPermit(opening(100), p);
    }

    function test_a_foreign_permit_is_worth_nothing() public {
        IPayment.Permit memory p = permit(METER_KEY, 100, clock);
        vm.startPrank(publisher);
        token.approve(address(payment), 0);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(payment), 0, 100)
        );
        payment.openWithPermit(opening(100), p);
    }

    function test_a_top_up_that_takes_a_fee_is_refused() public {
        TurningToken turning = new TurningToken();
        fund(turning, publisher);
        IPayment.Opening memory o = opening(100);
        o.terms.token = turning;
        open(o);
        turning.setFee(1);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.WrongAmountReceived.selector, address(turning), 100, 99));
        payment.topUp(id, 100);
    }

    function test_anyone_tops_up() public {
        open(100);
        fund(token, stranger);
        vm.expectEmit(address(payment));
        emit IPayment.ToppedUp(id, stranger, 5, 105);
        vm.prank(stranger);
        payment.topUp(id, 5);
        eq(payment.channel(id).deposited, 105);
    }

    function test_a_top_up_of_zero_is_refused() public {
        open(100);
        vm.prank(publisher);
        vm.expectRevert(IPayment.ZeroAmount.selector);
        payment.topUp(id, 0);
    }

    function test_a_top_up_does_not_touch_the_unlock() public {
        open(100);
        unlock();
        uint256 unlockAt = payment.channel(id).unlockAt;
        pass(10);
        vm.prank(publisher);
        payment.topUp(id, 5);
        eq(payment.channel(id).unlockAt, unlockAt);
    }
}
