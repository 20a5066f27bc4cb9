// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";
import {FalseToken, RebasingToken, ReenteringToken, SilentToken} from "./HostileTokens.sol";
import {TestToken} from "./TestToken.sol";

/// What tokens of other kinds do to channels: their own, and others'.
contract TokensTest is Base {
    function openIn(TestToken coin, uint128 amount) internal returns (IPayment.Opening memory o) {
        fund(coin, publisher);
        o = opening(amount);
        o.terms.token = coin;
        open(o);
        pass(1);
    }

    /// While it moves into the contract, the token makes this call of it.
    function refusesToBeCalledBack(bytes memory what) internal {
        ReenteringToken evil = new ReenteringToken();
        openIn(evil, 1000);
        evil.arm(address(payment), what);
        vm.prank(publisher);
        payment.topUp(id, 10);
        ok(!evil.succeeded(), "the call back went through");
        bytes memory guarded =
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        eq(keccak256(evil.answer()), keccak256(guarded));
    }

    function test_no_open_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.open, (opening(1))));
    }

    function test_no_openWithPermit_within_a_transfer() public {
        IPayment.Permit memory none;
        refusesToBeCalledBack(abi.encodeCall(IPayment.openWithPermit, (opening(1), none)));
    }

    function test_no_openWithAuthorization_within_a_transfer() public {
        IPayment.Authorization memory none;
        refusesToBeCalledBack(abi.encodeCall(IPayment.openWithAuthorization, (opening(1), none)));
    }

    function test_no_topUp_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.topUp, (id, 1)));
    }

    function test_no_claim_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.claim, (id, 1, terms(), used(1), unsigned())));
    }

    function test_no_claimMany_within_a_transfer() public {
        bytes memory what = abi.encodeCall(
            IPayment.claimMany, (new IPayment.Terms[](0), new IPayment.Claim[](0), new IPayment.Signature[](0))
        );
        refusesToBeCalledBack(what);
    }

    function test_no_redeem_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.redeem, (publisher, POD, terms(), 1, "")));
    }

    function test_no_unlock_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.unlock, (provider, POD)));
    }

    function test_no_cancelUnlock_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.cancelUnlock, (provider, POD)));
    }

    function test_no_withdraw_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.withdraw, (provider, POD)));
    }

    function test_no_close_within_a_transfer() public {
        refusesToBeCalledBack(abi.encodeCall(IPayment.close, (publisher, POD)));
    }

    function test_no_settleAndClose_within_a_transfer() public {
        bytes memory what =
            abi.encodeCall(IPayment.settleAndClose, (publisher, POD, 1, terms(), used(1), unsigned()));
        refusesToBeCalledBack(what);
    }

    function test_a_token_that_answers_nothing_is_taken() public {
        SilentToken silent = new SilentToken();
        IPayment.Opening memory o = openIn(silent, 100);
        vm.prank(publisher);
        payment.topUp(id, 5);
        vm.prank(provider);
        payment.settleAndClose(publisher, POD, 1, o.terms, used(30), unsigned());
        eq(silent.balanceOf(payout), 30);
        eq(silent.balanceOf(publisher), 1e30 - 30);
    }

    function test_a_payout_that_is_answered_with_false_is_taken_back() public {
        FalseToken liar = new FalseToken();
        IPayment.Opening memory o = openIn(liar, 100);
        liar.setLying(true);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(liar)));
        payment.claim(id, 1, o.terms, used(30), unsigned());
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(liar)));
        payment.close(publisher, POD);
        eq(payment.channel(id).claimed, 0);
        eq(payment.channel(id).deposited, 100);
    }

    function test_what_a_token_adds_to_balances_is_nobodys() public {
        RebasingToken growing = new RebasingToken();
        openIn(growing, 100);
        growing.rebase(address(payment), 150);
        close();
        eq(growing.balanceOf(publisher), 1e30);
        eq(growing.balanceOf(address(payment)), 50);
    }

    function test_a_token_that_shrinks_balances_harms_its_own_channels_only() public {
        RebasingToken shrinking = new RebasingToken();
        IPayment.Opening memory o = openIn(shrinking, 100);
        o.podId = keccak256("another");
        o.terms.token = token;
        open(o);
        shrinking.rebase(address(payment), 60);
        vm.prank(provider);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, address(payment), 60, 100)
        );
        payment.close(publisher, POD);
        o.terms.token = shrinking;
        vm.prank(provider);
        eq(payment.claim(id, 1, o.terms, used(60), unsigned()), 60);
        vm.prank(provider);
        eq(payment.close(publisher, o.podId), 100);
        eq(token.balanceOf(address(payment)), 0);
    }

    function test_a_new_token_is_told() public {
        IERC20[2] memory coins = [IERC20(token), IERC20(new TestToken())];
        for (uint32 i = 0; i < 2; ++i) {
            IPayment.Opening memory o = opening(1);
            (o.podId, o.terms.token) = (bytes32(uint256(i)), coins[i]);
            fund(TestToken(address(coins[i])), publisher);
            vm.expectEmit(address(payment));
            emit IPayment.TokenAdded(i + 1, coins[i]);
            open(o);
        }
    }
}
