// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";

/// A publisher that is a contract and signs whatever it was told to.
contract Wallet is IERC1271 {
    bytes32 public approved;

    function approve(bytes32 digest) external {
        approved = digest;
    }

    function isValidSignature(bytes32 digest, bytes memory) external view returns (bytes4) {
        return digest == approved ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

contract RedeemTest is Base {
    function redeem(uint128 total, bytes memory signature) internal returns (uint128) {
        vm.prank(provider);
        return payment.redeem(publisher, POD, terms(), total, signature);
    }

    function refuses(uint128 total, bytes memory signature, IPayment.Refusal why) internal {
        vm.prank(provider);
        vm.expectRevert(refused(why));
        payment.redeem(publisher, POD, terms(), total, signature);
    }

    function test_refuses_a_channel_that_is_not_open() public {
        bytes memory signature = signed(PUBLISHER_KEY, voucher(1, 60));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotOpen.selector, id));
        payment.redeem(publisher, POD, terms(), 60, signature);
    }

    function test_refuses_other_terms() public {
        open(100);
        IPayment.Terms memory t = terms();
        t.payout = provider;
        bytes memory signature = signed(PUBLISHER_KEY, voucher(1, 60));
        vm.prank(provider);
        vm.expectRevert(refused(IPayment.Refusal.WrongTerms));
        payment.redeem(publisher, POD, t, 60, signature);
    }

    function test_refuses_foreign_signatures() public {
        open(100);
        bytes32 content = voucher(1, 60);
        refuses(60, "", IPayment.Refusal.BadSignature);
        refuses(60, signed(METER_KEY, content), IPayment.Refusal.BadSignature);
        refuses(61, signed(PUBLISHER_KEY, content), IPayment.Refusal.BadSignature);
        refuses(60, signed(PUBLISHER_KEY, voucher(2, 60)), IPayment.Refusal.BadSignature);
        refuses(60, signedFor(PUBLISHER_KEY, content, stranger, block.chainid), IPayment.Refusal.BadSignature);
        refuses(60, signedFor(PUBLISHER_KEY, content, address(payment), 5), IPayment.Refusal.BadSignature);
        bytes32 own = id;
        id = payment.channelId(publisher, provider, keccak256("another"));
        bytes memory another = signed(PUBLISHER_KEY, voucher(1, 60));
        id = own;
        refuses(60, another, IPayment.Refusal.BadSignature);
    }

    function test_only_the_provider_redeems() public {
        open(100);
        bytes memory signature = signed(PUBLISHER_KEY, voucher(1, 60));
        IPayment.Terms memory t = terms();
        bytes32 other = payment.channelId(publisher, payout, POD);
        vm.prank(payout);
        vm.expectRevert(abi.encodeWithSelector(IPayment.NotOpen.selector, other));
        payment.redeem(publisher, POD, t, 60, signature);
    }

    function test_pays_once_and_without_regard_to_the_cap() public {
        open(100);
        bytes memory signature = signed(PUBLISHER_KEY, voucher(1, 60));
        vm.expectEmit(address(payment));
        emit IPayment.Redeemed(id, 60);
        eq(redeem(60, signature), 60);
        eq(token.balanceOf(payout), 60);
        refuses(60, signature, IPayment.Refusal.NothingDue);
        eq(redeem(500, signed(PUBLISHER_KEY, voucher(1, 500))), 40);
    }

    function test_a_voucher_of_an_older_epoch_is_worth_nothing() public {
        open(100);
        bytes memory signature = signed(PUBLISHER_KEY, voucher(1, 60));
        close();
        open(100);
        refuses(60, signature, IPayment.Refusal.BadSignature);
    }

    function test_a_contract_signs_too() public {
        Wallet wallet = new Wallet();
        publisher = address(wallet);
        fund(token, publisher);
        id = payment.channelId(publisher, provider, POD);
        open(100);
        refuses(60, "", IPayment.Refusal.BadSignature);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Apocryph Payment"),
                keccak256("1"),
                block.chainid,
                address(payment)
            )
        );
        wallet.approve(keccak256(abi.encodePacked("\x19\x01", domain, voucher(1, 60))));
        eq(redeem(60, ""), 60);
    }
}
