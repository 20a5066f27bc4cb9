// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IPayment} from "../src/IPayment.sol";
import {AuthorizedToken} from "./AuthorizedToken.sol";
import {Base} from "./Base.sol";
import {FeeToken} from "./HostileTokens.sol";
import {TestToken} from "./TestToken.sol";

contract AuthorizedFeeToken is FeeToken, ERC3009 {
    function _update(address from, address to, uint256 value) internal override(FeeToken, ERC20) {
        FeeToken._update(from, to, value);
    }
}

contract AuthorizationTest is Base {
    AuthorizedToken internal authorized;
    bytes32 internal constant NONCE = keccak256("nonce");

    function setUp() public override {
        super.setUp();
        authorized = new AuthorizedToken();
        authorized.mint(publisher, 1e30);
    }

    function openingIn(TestToken coin) internal view returns (IPayment.Opening memory o) {
        o = opening(100);
        o.terms.token = coin;
    }

    function authorization(TestToken coin, uint256 key, address to, uint256 value, uint256 validBefore)
        internal
        view
        returns (IPayment.Authorization memory a)
    {
        bytes32 kind = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        (a.validBefore, a.nonce) = (validBefore, NONCE);
        bytes32 content = keccak256(abi.encode(kind, publisher, to, value, 0, validBefore, NONCE));
        (a.v, a.r, a.s) = vm.sign(key, keccak256(abi.encodePacked("\x19\x01", coin.DOMAIN_SEPARATOR(), content)));
    }

    function good() internal view returns (IPayment.Authorization memory) {
        return authorization(authorized, PUBLISHER_KEY, address(payment), 100, clock + 1);
    }

    function refuses(address caller, IPayment.Authorization memory a, bytes memory why) internal {
        vm.prank(caller);
        vm.expectRevert(why);
        payment.openWithAuthorization(openingIn(authorized), a);
    }

    function test_opens_without_an_allowance() public {
        IPayment.Authorization memory a = good();
        vm.prank(publisher);
        payment.openWithAuthorization(openingIn(authorized), a);
        eq(payment.channel(id).deposited, 100);
        eq(authorized.balanceOf(address(payment)), 100);
    }

    function test_refuses_what_open_refuses() public {
        IPayment.Opening memory o = openingIn(authorized);
        o.provider = publisher;
        IPayment.Authorization memory a = good();
        vm.prank(publisher);
        vm.expectRevert(IPayment.SelfDealing.selector);
        payment.openWithAuthorization(o, a);
    }

    function test_refuses_an_expired_authorization() public {
        IPayment.Authorization memory a = authorization(authorized, PUBLISHER_KEY, address(payment), 100, clock);
        bytes memory why = abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, 0, clock);
        refuses(publisher, a, why);
    }

    function test_refuses_a_replayed_authorization() public {
        IPayment.Authorization memory a = good();
        vm.prank(publisher);
        payment.openWithAuthorization(openingIn(authorized), a);
        close();
        refuses(publisher, a, abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, publisher, NONCE));
    }

    function test_refuses_foreign_authorizations() public {
        bytes memory why = abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector);
        refuses(publisher, authorization(authorized, METER_KEY, address(payment), 100, clock + 1), why);
        refuses(publisher, authorization(authorized, PUBLISHER_KEY, stranger, 100, clock + 1), why);
        refuses(publisher, authorization(authorized, PUBLISHER_KEY, address(payment), 99, clock + 1), why);
        refuses(publisher, authorization(token, PUBLISHER_KEY, address(payment), 100, clock + 1), why);
    }

    function test_nobody_else_uses_an_authorization() public {
        refuses(stranger, good(), abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        IPayment.Authorization memory a = good();
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(payment)));
        authorized.receiveWithAuthorization(
            publisher, address(payment), 100, a.validAfter, a.validBefore, a.nonce, a.v, a.r, a.s
        );
    }

    function test_refuses_a_token_that_takes_a_fee() public {
        AuthorizedFeeToken fee = new AuthorizedFeeToken();
        fee.mint(publisher, 1e30);
        IPayment.Authorization memory a = authorization(fee, PUBLISHER_KEY, address(payment), 100, clock + 1);
        vm.prank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPayment.WrongAmountReceived.selector, address(fee), 100, 99));
        payment.openWithAuthorization(openingIn(fee), a);
    }
}
