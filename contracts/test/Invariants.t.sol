// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";
import {BlockingToken} from "./HostileTokens.sol";
import {TestToken} from "./TestToken.sol";

/// Does what publishers and providers do, in any order, and keeps its own books of it.
contract Actors is Base {
    struct Book {
        uint256 deposited;
        uint256 claimed;
        uint256 units;
        uint256 price;
        uint256 openedAt;
        uint256 unlockAt;
        uint32 epoch;
        bool isOpen;
    }

    uint256 internal constant PODS = 6;
    uint96 internal constant RATE = 1000e9;

    TestToken[2] public tokens;
    mapping(uint256 pod => Book) public books;
    uint256[2] public paidIn;
    uint256[2] public paidOut;
    uint256[2] public refunded;

    constructor() {
        setUp();
        tokens = [token, new BlockingToken()];
        fund(tokens[1], publisher);
    }

    function idOf(uint256 pod) public view returns (bytes32) {
        return payment.channelId(publisher, provider, bytes32(pod));
    }

    function termsOf(uint256 pod) internal view returns (IPayment.Terms memory t) {
        t = terms();
        t.token = tokens[pod % 2];
        t.prices[0] = books[pod].price;
    }

    function isOpen(uint256 pod) external view returns (bool) {
        return books[pod].isOpen;
    }

    function balance(uint256 kind) external view returns (uint256) {
        return tokens[kind].balanceOf(address(payment));
    }

    function claimedOnChain(uint256 pod) external view returns (uint256) {
        return payment.channel(idOf(pod)).claimed;
    }

    /// Within the bounds that the contract promises.
    function earned(uint256 pod) public view returns (uint256) {
        Book memory b = books[pod];
        uint256 end = b.unlockAt != 0 && b.unlockAt < clock ? b.unlockAt : clock;
        uint256 cap = RATE * (end - b.openedAt) / 1e9;
        uint256 owed = b.price * b.units / 1e18;
        uint256 least = owed < cap ? owed : cap;
        return least < b.deposited ? least : b.deposited;
    }

    function wait(uint32 time) external {
        pass(bound(time, 1, 3 days));
    }

    function open(uint256 pod, uint128 amount, uint128 price) external {
        pod %= PODS;
        if (books[pod].isOpen) return topUp(pod, amount);
        IPayment.Opening memory o = opening(uint128(bound(amount, 1, 1e9)));
        o.podId = bytes32(pod);
        books[pod] = Book(o.amount, 0, 0, bound(price, 0, 3e18), clock, 0, books[pod].epoch + 1, true);
        o.terms = termsOf(pod);
        o.maxRate = RATE;
        vm.prank(publisher);
        payment.open(o);
        paidIn[pod % 2] += o.amount;
    }

    function topUp(uint256 pod, uint128 amount) public {
        pod %= PODS;
        if (!books[pod].isOpen) return;
        amount = uint128(bound(amount, 1, 1e9));
        bytes32 channel = idOf(pod);
        vm.prank(publisher);
        payment.topUp(channel, amount);
        books[pod].deposited += amount;
        paidIn[pod % 2] += amount;
    }

    function claim(uint256 pod, uint64 units) external {
        pod %= PODS;
        Book storage b = books[pod];
        b.units += bound(units, 0, 1e6);
        if (!b.isOpen || earned(pod) <= b.claimed) return;
        bytes32 channel = idOf(pod);
        IPayment.Terms memory t = termsOf(pod);
        vm.prank(provider);
        uint128 paid = payment.claim(channel, b.epoch, t, used(b.units), unsigned());
        b.claimed += paid;
        paidOut[pod % 2] += paid;
    }

    function claimMany(uint64 units, bool blocked) external {
        BlockingToken(address(tokens[1])).setBlocked(payout, blocked);
        IPayment.Terms[] memory ts = new IPayment.Terms[](PODS);
        IPayment.Claim[] memory items = new IPayment.Claim[](PODS);
        for (uint256 pod = 0; pod < PODS; ++pod) {
            books[pod].units += bound(units, 0, 1e6);
            ts[pod] = termsOf(pod);
            items[pod] = IPayment.Claim(idOf(pod), pod, books[pod].epoch, used(books[pod].units));
        }
        vm.prank(provider);
        payment.claimMany(ts, items, new IPayment.Signature[](0));
        for (uint256 pod = 0; pod < PODS; ++pod) {
            Book storage b = books[pod];
            if (!b.isOpen || earned(pod) <= b.claimed || (blocked && pod % 2 == 1)) continue;
            paidOut[pod % 2] += earned(pod) - b.claimed;
            b.claimed = earned(pod);
        }
        BlockingToken(address(tokens[1])).setBlocked(payout, false);
    }

    function unlock(uint256 pod) external {
        pod %= PODS;
        if (!books[pod].isOpen || books[pod].unlockAt != 0) return;
        vm.prank(publisher);
        books[pod].unlockAt = payment.unlock(provider, bytes32(pod));
    }

    function cancelUnlock(uint256 pod) external {
        pod %= PODS;
        if (!books[pod].isOpen || books[pod].unlockAt <= clock) return;
        vm.prank(publisher);
        payment.cancelUnlock(provider, bytes32(pod));
        books[pod].unlockAt = 0;
    }

    function withdraw(uint256 pod) external {
        pod %= PODS;
        if (!books[pod].isOpen || books[pod].unlockAt == 0 || books[pod].unlockAt > clock) return;
        vm.prank(publisher);
        ended(pod, payment.withdraw(provider, bytes32(pod)));
    }

    function close(uint256 pod) external {
        pod %= PODS;
        if (!books[pod].isOpen) return;
        vm.prank(provider);
        ended(pod, payment.close(publisher, bytes32(pod)));
    }

    /// From every state, both sides get everything out.
    function settleAll() external {
        for (uint256 pod = 0; pod < PODS; ++pod) {
            if (!books[pod].isOpen) continue;
            IPayment.Terms memory t = termsOf(pod);
            uint256[2] memory usage = used(books[pod].units);
            vm.prank(provider);
            (uint128 paid, uint128 back) = payment.settleAndClose(publisher, bytes32(pod), books[pod].epoch, t, usage, unsigned());
            paidOut[pod % 2] += paid;
            ended(pod, back);
        }
    }

    function ended(uint256 pod, uint256 back) internal {
        refunded[pod % 2] += back;
        uint32 epoch = books[pod].epoch;
        delete books[pod];
        books[pod].epoch = epoch;
    }
}

contract InvariantsTest is Base {
    Actors internal actors;

    function setUp() public override {
        actors = new Actors();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function excludeSelectors() external view returns (FuzzSelector[] memory excluded) {
        excluded = new FuzzSelector[](1);
        excluded[0] = FuzzSelector(address(actors), new bytes4[](2));
        excluded[0].selectors[0] = Base.setUp.selector;
        excluded[0].selectors[1] = Actors.settleAll.selector;
    }

    function afterInvariant() external {
        actors.settleAll();
        for (uint256 kind = 0; kind < 2; ++kind) {
            eq(actors.balance(kind), 0);
            eq(actors.paidIn(kind), actors.paidOut(kind) + actors.refunded(kind));
        }
    }

    function invariant_the_balance_is_what_is_owed_to_both_sides() external view {
        uint256[2] memory liabilities;
        for (uint256 pod = 0; pod < 6; ++pod) {
            (uint256 deposited, uint256 claimed,,,,,,) = actors.books(pod);
            liabilities[pod % 2] += deposited - claimed;
        }
        for (uint256 kind = 0; kind < 2; ++kind) {
            eq(actors.balance(kind), liabilities[kind]);
        }
    }

    function invariant_the_provider_has_what_it_claimed_and_never_more_than_it_earned() external view {
        for (uint256 pod = 0; pod < 6; ++pod) {
            (, uint256 claimed,,,,,,) = actors.books(pod);
            eq(actors.claimedOnChain(pod), claimed);
            ok(!actors.isOpen(pod) || claimed <= actors.earned(pod), "claimed more than was earned");
        }
    }
}
