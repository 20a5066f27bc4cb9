// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";
import {BlockingToken} from "./HostileTokens.sol";
import {TestToken} from "./TestToken.sol";
import {Vm} from "./Vm.sol";

contract ClaimManyTest is Base {
    IPayment.Terms[] internal offered;
    IPayment.Claim[] internal items;

    function setUp() public override {
        super.setUp();
        offered.push(terms());
    }

    /// Opens a channel under the terms with this number and adds a claim on it.
    function add(string memory pod, uint256 which, uint256 units) internal returns (bytes32 channel) {
        IPayment.Opening memory o = opening(100);
        o.podId = keccak256(bytes(pod));
        o.terms = offered[which];
        open(o);
        channel = payment.channelId(publisher, provider, o.podId);
        items.push(IPayment.Claim(channel, which, 1, used(units)));
    }

    function claimAll() internal {
        pass(1 hours);
        vm.prank(provider);
        payment.claimMany(offered, items, new IPayment.Signature[](0));
    }

    function expectSkipped(bytes32 channel, IPayment.Refusal reason) internal {
        vm.expectEmit(address(payment));
        emit IPayment.ClaimSkipped(channel, reason);
    }

    function transfers() internal returns (uint256 n) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IERC20.Transfer.selector) ++n;
        }
    }

    function test_pays_all_with_one_transfer_per_token() public {
        TestToken second = new TestToken();
        fund(second, publisher);
        offered.push(terms());
        offered[1].prices[0] = 2e18;
        offered.push(terms());
        offered[2].token = second;
        add("a", 0, 1);
        add("b", 0, 2);
        add("c", 1, 3);
        add("d", 2, 4);
        add("e", 2, 5);
        vm.recordLogs();
        claimAll();
        eq(transfers(), 2);
        eq(token.balanceOf(payout), 1 + 2 + 6);
        eq(second.balanceOf(payout), 9);
        eq(payment.channel(items[2].id).claimed, 6);
    }

    function test_every_payment_is_told() public {
        add("a", 0, 1);
        add("b", 0, 2);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectEmit(address(payment));
            emit IPayment.Claimed(items[i].id, used(i + 1), uint128(i + 1));
        }
        claimAll();
    }

    function test_skips_what_was_closed() public {
        add("a", 0, 10);
        vm.prank(provider);
        payment.close(publisher, keccak256("a"));
        expectSkipped(items[0].id, IPayment.Refusal.NotOpen);
        claimAll();
    }

    function test_skips_what_was_claimed_before() public {
        add("a", 0, 10);
        claimAll();
        expectSkipped(items[0].id, IPayment.Refusal.NothingDue);
        claimAll();
        eq(token.balanceOf(payout), 10);
    }

    function test_what_is_skipped_does_not_part_a_transfer() public {
        offered.push(terms());
        offered[1].payout = stranger;
        add("a", 0, 1);
        add("b", 1, 0);
        add("c", 0, 2);
        vm.recordLogs();
        claimAll();
        eq(transfers(), 1);
        eq(token.balanceOf(payout), 3);
    }

    function test_pays_each_payout_address_its_own() public {
        offered.push(terms());
        offered[1].payout = stranger;
        add("a", 0, 1);
        add("b", 1, 2);
        add("c", 0, 4);
        claimAll();
        eq(token.balanceOf(payout), 5);
        eq(token.balanceOf(stranger), 2);
    }

    function test_a_channel_named_twice_is_paid_the_higher_total() public {
        add("a", 0, 10);
        items.push(items[0]);
        items[1].usage = used(15);
        claimAll();
        eq(token.balanceOf(payout), 15);
    }

    function test_nothing_at_all_does_nothing() public {
        claimAll();
        eq(token.balanceOf(payout), 0);
    }

    function test_skips_terms_that_are_not_there() public {
        add("a", 0, 10);
        items[0].terms = 1;
        expectSkipped(items[0].id, IPayment.Refusal.WrongTerms);
        claimAll();
    }

    function test_skips_what_another_provider_is_owed() public {
        add("a", 0, 10);
        pass(1);
        expectSkipped(items[0].id, IPayment.Refusal.WrongTerms);
        vm.prank(stranger);
        payment.claimMany(offered, items, new IPayment.Signature[](0));
    }

    function test_takes_back_what_a_token_does_not_move_and_pays_the_rest() public {
        BlockingToken blocking = new BlockingToken();
        fund(blocking, publisher);
        offered.push(terms());
        offered[1].token = blocking;
        add("a", 0, 1);
        add("b", 1, 2);
        add("c", 1, 3);
        items.push(items[2]);
        items[3].usage = used(7);
        add("d", 0, 4);
        blocking.setBlocked(payout, true);
        expectSkipped(items[1].id, IPayment.Refusal.TransferFailed);
        claimAll();
        eq(token.balanceOf(payout), 5);
        eq(payment.channel(items[1].id).claimed, 0);
        eq(payment.channel(items[2].id).claimed, 0);
        blocking.setBlocked(payout, false);
        claimAll();
        eq(blocking.balanceOf(payout), 9);
    }

    function test_signatures_are_none_or_one_for_each() public {
        add("a", 0, 10);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IPayment.SignatureCount.selector, 1, 2));
        payment.claimMany(offered, items, new IPayment.Signature[](2));
    }

    function refusesItems(uint256 terms_, uint256 claims) internal {
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IPayment.TooManyItems.selector, 513, 512));
        payment.claimMany(new IPayment.Terms[](terms_), new IPayment.Claim[](claims), new IPayment.Signature[](0));
    }

    function test_the_number_of_items_is_bounded() public {
        refusesItems(1, 513);
        refusesItems(513, 1);
    }

    function test_a_full_call_fits_into_a_block() public {
        for (uint256 i = 0; i < 512; ++i) {
            add(string(abi.encode(i)), 0, 1);
        }
        pass(1 hours);
        IPayment.Terms[] memory all = offered;
        IPayment.Claim[] memory claims = items;
        vm.prank(provider);
        uint256 before = gasleft();
        payment.claimMany(all, claims, new IPayment.Signature[](0));
        ok(before - gasleft() < 15_000_000, "more than half of a block of 30 million gas");
        eq(token.balanceOf(payout), 512);
    }

    function test_metered_channels_need_their_signature() public {
        offered.push(meteredTerms());
        add("a", 0, 1);
        id = add("b", 1, 2);
        expectSkipped(id, IPayment.Refusal.BadSignature);
        claimAll();
        IPayment.Signature[] memory signatures = new IPayment.Signature[](2);
        signatures[1] = compact(signed(METER_KEY, statement(1, used(2))));
        vm.prank(provider);
        payment.claimMany(offered, items, signatures);
        eq(token.balanceOf(payout), 3);
    }
}
