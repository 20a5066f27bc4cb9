// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";
import {BlockingToken} from "./HostileTokens.sol";

contract ClaimTest is Base {
    function sign(uint256 key, uint32 epoch, uint256[2] memory usage)
        internal
        view
        returns (IPayment.Signature memory)
    {
        return compact(signed(key, statement(epoch, usage)));
    }

    function openMetered() internal {
        IPayment.Opening memory o = opening(100);
        o.terms = meteredTerms();
        open(o);
        pass(1 hours);
    }

    function refuses(IPayment.Terms memory t, uint256 units, IPayment.Signature memory s, IPayment.Refusal why)
        internal
    {
        vm.prank(provider);
        vm.expectRevert(refused(why));
        payment.claim(id, 1, t, used(units), s);
    }

    function test_refuses_a_channel_that_is_not_open() public {
        refuses(terms(), 1, unsigned(), IPayment.Refusal.NotOpen);
    }

    function test_a_channel_that_is_not_open_has_no_cap() public {
        eq(payment.cap(id), 0);
        open(100);
        pass(1);
        close();
        eq(payment.cap(id), 0);
    }

    function test_refuses_after_close() public {
        open(100);
        close();
        refuses(terms(), 1, unsigned(), IPayment.Refusal.NotOpen);
    }

    function test_refuses_after_withdrawal() public {
        open(100);
        unlock();
        pass(DELAY);
        withdraw();
        refuses(terms(), 1, unsigned(), IPayment.Refusal.NotOpen);
    }

    function test_refuses_other_terms() public {
        open(100);
        pass(1);
        IPayment.Terms memory t = terms();
        t.payout = provider;
        refuses(t, 1, unsigned(), IPayment.Refusal.WrongTerms);
        t = terms();
        t.prices[3] = 1 << 128;
        refuses(t, 1, unsigned(), IPayment.Refusal.WrongTerms);
    }

    function test_refuses_everyone_but_the_provider() public {
        open(100);
        pass(1);
        IPayment.Terms memory t = terms();
        vm.prank(publisher);
        vm.expectRevert(refused(IPayment.Refusal.WrongTerms));
        payment.claim(id, 1, t, used(1), unsigned());
        vm.prank(payout);
        vm.expectRevert(refused(IPayment.Refusal.WrongTerms));
        payment.claim(id, 1, t, used(1), unsigned());
    }

    function test_refuses_what_was_claimed() public {
        open(100);
        pass(1);
        claim(10);
        refuses(terms(), 10, unsigned(), IPayment.Refusal.NothingDue);
        refuses(terms(), 9, unsigned(), IPayment.Refusal.NothingDue);
    }

    function test_pays_what_is_owed_once() public {
        open(100);
        pass(1);
        vm.expectEmit(address(payment));
        emit IPayment.Claimed(id, used(10), 10);
        eq(claim(10), 10);
        eq(claim(25), 15);
        eq(token.balanceOf(payout), 25);
        eq(payment.channel(id).claimed, 25);
    }

    function test_pays_no_more_than_the_deposit() public {
        open(100);
        pass(1);
        eq(claim(1000), 100);
    }

    function test_pays_no_more_than_the_rate_allows() public {
        open(1_000_000);
        pass(2);
        eq(claim(1_000_000), 2000);
        eq(payment.cap(id), 2000);
    }

    function test_nothing_accrues_after_the_unlock() public {
        open(1_000_000_000);
        unlock();
        pass(10 * uint256(DELAY));
        eq(claim(type(uint64).max), 1000 * uint256(DELAY));
    }

    function test_a_claim_does_not_move_the_unlock() public {
        open(100);
        unlock();
        uint40 unlockAt = payment.channel(id).unlockAt;
        pass(1);
        claim(1);
        eq(payment.channel(id).unlockAt, unlockAt);
    }

    function test_every_kind_has_its_price() public view {
        for (uint256 i = 0; i < 8; ++i) {
            uint256[4] memory prices;
            uint256[2] memory usage;
            prices[i / 2] = 3e18 << (128 * (i % 2));
            usage[i / 4] = 7 << (64 * (i % 4));
            eq(payment.owed(prices, usage), 21);
            prices[i / 2] = prices[i / 2] - (1 << (128 * (i % 2)));
            eq(payment.owed(prices, usage), 20);
        }
    }

    /// Against 512-bit arithmetic done another way: split into quotient and remainder of each product.
    function testFuzz_owed(uint128[8] memory prices, uint64[8] memory usage) public view {
        checkOwed(prices, usage);
    }

    function test_owed_at_the_extremes() public view {
        uint128[8] memory prices;
        uint64[8] memory usage;
        checkOwed(prices, usage);
        for (uint256 i = 0; i < 8; ++i) {
            prices[i] = type(uint128).max;
            usage[i] = type(uint64).max;
        }
        checkOwed(prices, usage);
    }

    function checkOwed(uint128[8] memory prices, uint64[8] memory usage) internal view {
        uint256[4] memory packedPrices;
        uint256[2] memory packedUsage;
        uint256 whole;
        uint256 rest;
        for (uint256 i = 0; i < 8; ++i) {
            packedPrices[i / 2] |= uint256(prices[i]) << (128 * (i % 2));
            packedUsage[i / 4] |= uint256(usage[i]) << (64 * (i % 4));
            uint256 product = uint256(prices[i]) * usage[i];
            whole += product / 1e18;
            rest += product % 1e18;
        }
        eq(payment.owed(packedPrices, packedUsage), whole + rest / 1e18);
    }

    function testFuzz_a_claim_is_bounded(uint128 amount, uint96 rate, uint64 units, uint128 price, uint32 time) public {
        amount = uint128(bound(amount, 1, 1e30));
        IPayment.Opening memory o = opening(amount);
        o.maxRate = rate;
        o.terms.prices[0] = price;
        open(o);
        pass(time);
        uint256 expected = uint256(price) * units / 1e18;
        uint256 cap = uint256(rate) * time / 1e9;
        if (expected > cap) expected = cap;
        if (expected > amount) expected = amount;
        vm.prank(provider);
        if (expected == 0) vm.expectRevert(refused(IPayment.Refusal.NothingDue));
        payment.claim(id, 1, o.terms, used(units), unsigned());
        eq(token.balanceOf(payout), expected);
        eq(payment.channel(id).claimed, expected);
    }

    function testFuzz_runway_ends_when_the_cap_reaches_the_deposit(uint128 amount, uint96 rate, uint32 time) public {
        amount = uint128(bound(amount, 1, 1e30));
        IPayment.Opening memory o = opening(amount);
        o.maxRate = rate;
        eq(payment.runway(id), 0);
        open(o);
        pass(time);
        uint256 left = payment.runway(id);
        if (rate == 0) return eq(left, type(uint256).max);
        if (left == 0) {
            ok(uint256(rate) * (uint256(time) + 1) / 1e9 >= amount, "none left, yet the deposit lasts");
        } else {
            ok(uint256(rate) * (time + left) / 1e9 <= amount, "the deposit is used up before the runway ends");
        }
    }

    function test_pays_for_usage_signed_by_the_meter() public {
        openMetered();
        IPayment.Signature memory s = sign(METER_KEY, 1, used(10));
        vm.prank(provider);
        eq(payment.claim(id, 1, meteredTerms(), used(10), s), 10);
    }

    function test_refuses_usage_that_the_meter_did_not_sign() public {
        openMetered();
        IPayment.Refusal bad = IPayment.Refusal.BadSignature;
        refuses(meteredTerms(), 10, unsigned(), bad);
        refuses(meteredTerms(), 10, sign(PUBLISHER_KEY, 1, used(10)), bad);
        refuses(meteredTerms(), 10, sign(METER_KEY, 1, used(11)), bad);
        refuses(meteredTerms(), 10, sign(METER_KEY, 2, used(10)), bad);
        bytes32 content = statement(1, used(10));
        refuses(meteredTerms(), 10, compact(signedFor(METER_KEY, content, stranger, block.chainid)), bad);
        refuses(meteredTerms(), 10, compact(signedFor(METER_KEY, content, address(payment), 5)), bad);
    }

    function test_a_statement_for_another_channel_is_refused() public {
        openMetered();
        bytes32 own = id;
        id = keccak256("another channel");
        IPayment.Signature memory s = sign(METER_KEY, 1, used(10));
        id = own;
        refuses(meteredTerms(), 10, s, IPayment.Refusal.BadSignature);
    }

    function test_a_token_that_refuses_the_payout_takes_the_claim_back() public {
        BlockingToken blocking = new BlockingToken();
        fund(blocking, publisher);
        IPayment.Opening memory o = opening(100);
        o.terms.token = blocking;
        open(o);
        pass(1);
        blocking.setBlocked(payout, true);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(BlockingToken.Blocked.selector, payout));
        payment.claim(id, 1, o.terms, used(10), unsigned());
        eq(payment.channel(id).claimed, 0);
    }
}
