// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Base} from "./Base.sol";
import {MoodyToken} from "./MoodyToken.sol";

/// Publishers, providers and tokens that do anything in any order, and books of what came of it. Half of them would
/// take what is not theirs: usage is claimed that nobody had, withdrawals come early, tokens turn hostile.
contract Actors is Base {
    struct Book {
        uint256 token;
        uint256 deposited;
        uint256 claimed;
        uint256 price;
        uint256 openedAt;
        uint256 unlockAt;
        uint256 unlockDelay;
        /// The most that usage was claimed for.
        uint256 owed;
        uint256 units;
        /// The most that the publisher signed for.
        uint256 signed;
        uint32 epoch;
        bool isOpen;
    }

    struct Flow {
        uint256 paidIn;
        uint256 paidOut;
        uint256 refunded;
    }

    uint256 public constant CHANNELS = 12;
    uint256 public constant TOKENS = 4;
    uint96 internal constant RATE = 1000e9;

    MoodyToken[TOKENS] public tokens;
    /// Two with a key, and a token.
    address[3] public publishers;
    address[2] public providers = [address(0xB0B), address(0xB0B2)];
    bytes32[CHANNELS] internal _ids;
    mapping(uint256 channel => Book) internal _books;
    mapping(uint256 token => Flow) internal _flows;
    uint256 public calls;
    uint256 public reverted;
    /// What was found to be wrong, if anything was.
    string public broken;

    constructor() {
        setUp();
        for (uint256 i = 0; i < TOKENS; ++i) {
            tokens[i] = new MoodyToken();
        }
        publishers = [vm.addr(PUBLISHER_KEY), vm.addr(PUBLISHER_KEY + 1), address(tokens[TOKENS - 1])];
        for (uint256 i = 0; i < TOKENS * 3; ++i) {
            fund(tokens[i % TOKENS], publishers[i / TOKENS]);
        }
        for (uint256 i = 0; i < CHANNELS; ++i) {
            _ids[i] = payment.channelId(publisherOf(i), providerOf(i), podOf(i));
        }
        arm(tokens[TOKENS - 1]);
    }

    /// With everything that the token could do in its own channels.
    function arm(MoodyToken coin) internal {
        bytes[] memory what = new bytes[](CHANNELS);
        for (uint256 i = 0; i < 4; ++i) {
            uint256 channel = CHANNELS - 4 + i;
            what[3 * i] = abi.encodeCall(IPayment.withdraw, (providerOf(channel), podOf(channel)));
            what[3 * i + 1] = abi.encodeCall(IPayment.unlock, (providerOf(channel), podOf(channel)));
            what[3 * i + 2] = abi.encodeCall(IPayment.topUp, (idOf(channel), 1));
        }
        coin.arm(address(payment), what);
    }

    // --- Who is who ---

    function publisherOf(uint256 channel) public view returns (address) {
        return publishers[channel / 4];
    }

    function providerOf(uint256 channel) public view returns (address) {
        return providers[channel / 2 % 2];
    }

    function podOf(uint256 channel) public pure returns (bytes32) {
        return bytes32(channel % 2);
    }

    function idOf(uint256 channel) public view returns (bytes32) {
        return _ids[channel];
    }

    /// One payout address per provider.
    function payoutOf(uint256 channel) public view returns (address) {
        return address(uint160(providerOf(channel)) + 0x1000);
    }

    function termsOf(uint256 channel) internal view returns (IPayment.Terms memory t) {
        t.token = tokens[_books[channel].token];
        t.prices[0] = _books[channel].price;
        t.payout = payoutOf(channel);
    }

    /// The most that may have been claimed by now.
    function bounded(Book memory b) internal view returns (uint256) {
        return least(max(least(b.owed, cap(b)), b.signed), b.deposited);
    }

    function cap(Book memory b) internal view returns (uint256) {
        uint256 end = b.unlockAt != 0 ? least(b.unlockAt, clock) : clock;
        return RATE * (end - b.openedAt) / 1e9;
    }

    function least(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }

    function max(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a : b;
    }

    /// A channel that is open, or is not; any if there is none.
    function pick(uint256 seed, bool open_) internal view returns (uint256) {
        for (uint256 i = 0; i < CHANNELS; ++i) {
            uint256 channel = (seed % CHANNELS + i) % CHANNELS;
            if (_books[channel].isOpen == open_) return channel;
        }
        return seed % CHANNELS;
    }

    /// Whether to try what must fail.
    function rarely(uint256 seed) internal pure returns (bool) {
        return uint256(keccak256(abi.encode(seed))) % 8 == 0;
    }

    function hold(bool condition, string memory what) internal {
        if (!condition) broken = what;
    }

    /// Calls the contract as `who`, whatever comes of it.
    function attempt(address who, bytes memory what) internal returns (bool done, bytes memory answer) {
        ++calls;
        vm.prank(who);
        (done, answer) = address(payment).call(what);
        if (!done) ++reverted;
    }

    // --- What happens ---

    function wait(uint32 time) external {
        pass(bound(time, 1, 3 days));
    }

    function changeMood(uint256 kind, uint8 mood) external {
        // The first token stays honest.
        MoodyToken coin = tokens[bound(kind, 1, TOKENS - 1)];
        bool turns = coin.mood() == MoodyToken.Mood.Honest && mood % 4 == 0;
        coin.set(turns ? MoodyToken.Mood(1 + mood / 4 % 4) : MoodyToken.Mood.Honest);
    }

    function changeBlocked(uint256 kind, uint256 who, bool isBlocked) external {
        address account = who % 2 == 0 ? publisherOf(who % CHANNELS) : payoutOf(who % CHANNELS);
        tokens[bound(kind, 1, TOKENS - 1)].setBlocked(account, isBlocked && rarely(who));
    }

    function open(uint256 seed, uint256 kind, uint128 amount, uint128 price, uint32 delay) external {
        uint256 channel = pick(seed, false);
        if (_books[channel].isOpen && !rarely(seed)) return;
        Book memory b;
        (b.token, b.deposited, b.price) = (kind % TOKENS, bound(amount, 1, 1e9), bound(price, 0, 3e18));
        (b.openedAt, b.unlockDelay) = (clock, bound(delay, 1 hours, 90 days));
        (b.epoch, b.isOpen) = (_books[channel].epoch + 1, true);
        IPayment.Opening memory o = IPayment.Opening({
            provider: providerOf(channel),
            podId: podOf(channel),
            amount: uint128(b.deposited),
            maxRate: RATE,
            unlockDelay: uint32(b.unlockDelay),
            terms: termsOf(channel)
        });
        (o.terms.token, o.terms.prices[0]) = (tokens[b.token], b.price);
        (bool done,) = attempt(publisherOf(channel), abi.encodeCall(IPayment.open, (o)));
        if (!done) return;
        hold(!_books[channel].isOpen, "an open channel was opened");
        _books[channel] = b;
        _flows[b.token].paidIn += b.deposited;
    }

    function topUp(uint256 seed, uint256 from, uint128 amount) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        amount = uint128(bound(amount, 1, 1e9));
        (bool done,) = attempt(publishers[from % 3], abi.encodeCall(IPayment.topUp, (idOf(channel), amount)));
        if (!done) return;
        _books[channel].deposited += amount;
        _flows[_books[channel].token].paidIn += amount;
    }

    /// For any usage, less than before too, and now and then for an older epoch.
    function claim(uint256 seed, uint64 units, bool stale) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        Book storage b = _books[channel];
        uint256 usage = rarely(units) ? bound(units, 0, 1e9) : b.units + bound(units, 1, 1e8);
        uint32 epoch = stale && rarely(seed) && b.epoch > 1 ? b.epoch - 1 : b.epoch;
        IPayment.Terms memory t = termsOf(channel);
        bytes memory what = abi.encodeCall(IPayment.claim, (idOf(channel), epoch, t, used(usage), unsigned()));
        (bool done, bytes memory answer) = attempt(providerOf(channel), what);
        if (!done) return;
        b.units = usage;
        hold(epoch == b.epoch, "a claim of an older epoch was paid");
        b.owed = max(b.owed, b.price * usage / 1e18);
        paid(channel, abi.decode(answer, (uint128)), least(b.price * usage / 1e18, cap(b)));
    }

    function paid(uint256 channel, uint256 amount, uint256 total) internal {
        Book storage b = _books[channel];
        hold(b.claimed + amount == max(b.claimed, least(total, b.deposited)), "another amount was paid than was due");
        b.claimed += amount;
        _flows[b.token].paidOut += amount;
    }

    /// By one provider, from all its channels.
    function claimMany(uint256 who, uint64 units) external {
        uint256 usage = bound(units, 0, 1e9);
        address caller = providers[who % 2];
        IPayment.Terms[] memory ts = new IPayment.Terms[](CHANNELS);
        IPayment.Claim[] memory items = new IPayment.Claim[](CHANNELS);
        for (uint256 i = 0; i < CHANNELS; ++i) {
            ts[i] = termsOf(i);
            items[i] = IPayment.Claim(idOf(i), i, _books[i].epoch, used(usage));
        }
        (bool done,) = attempt(caller, abi.encodeCall(IPayment.claimMany, (ts, items, new IPayment.Signature[](0))));
        hold(done, "a batch reverted");
        IPayment.Channel[] memory onChain = payment.channels(allIds());
        for (uint256 i = 0; i < CHANNELS; ++i) {
            Book storage b = _books[i];
            uint256 now_ = onChain[i].claimed;
            if (now_ == b.claimed) continue;
            hold(providerOf(i) == caller, "another provider was paid");
            b.owed = max(b.owed, b.price * usage / 1e18);
            hold(now_ > b.claimed, "what was claimed fell");
            paid(i, now_ - b.claimed, least(b.price * usage / 1e18, cap(b)));
        }
    }

    function redeem(uint256 seed, uint128 total) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        if (channel / 4 == 2) return;
        Book storage b = _books[channel];
        uint128 signedFor = uint128(bound(total, b.claimed, b.deposited + b.deposited / 4));
        id = idOf(channel);
        bytes memory signature = signed(PUBLISHER_KEY + channel / 4, voucher(b.epoch, signedFor));
        IPayment.Terms memory t = termsOf(channel);
        bytes memory what =
            abi.encodeCall(IPayment.redeem, (publisherOf(channel), podOf(channel), t, signedFor, signature));
        (bool done, bytes memory answer) = attempt(providerOf(channel), what);
        if (!done) return;
        b.signed = max(b.signed, signedFor);
        paid(channel, abi.decode(answer, (uint128)), signedFor);
    }

    function unlock(uint256 seed) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        Book storage b = _books[channel];
        if (b.unlockAt != 0 && !rarely(seed)) return;
        (bool done,) =
            attempt(publisherOf(channel), abi.encodeCall(IPayment.unlock, (providerOf(channel), podOf(channel))));
        if (!done) return;
        hold(b.unlockAt == 0, "an unlock was moved");
        b.unlockAt = clock + b.unlockDelay;
    }

    function cancelUnlock(uint256 seed) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        bytes memory what = abi.encodeCall(IPayment.cancelUnlock, (providerOf(channel), podOf(channel)));
        if (_books[channel].unlockAt <= clock && !rarely(seed)) return;
        (bool done,) = attempt(publisherOf(channel), what);
        if (done) _books[channel].unlockAt = 0;
    }

    function withdraw(uint256 seed) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        Book storage b = _books[channel];
        if ((b.unlockAt == 0 || b.unlockAt > clock) && !rarely(seed)) return;
        bytes memory what = abi.encodeCall(IPayment.withdraw, (providerOf(channel), podOf(channel)));
        (bool done, bytes memory answer) = attempt(publisherOf(channel), what);
        if (!done) return;
        hold(b.unlockAt != 0 && clock >= b.unlockAt, "the publisher took money back before the delay had passed");
        ended(channel, abi.decode(answer, (uint128)));
    }

    function close(uint256 seed) external {
        uint256 channel = pick(seed, true);
        if (!_books[channel].isOpen && !rarely(seed)) return;
        bytes memory what = abi.encodeCall(IPayment.close, (publisherOf(channel), podOf(channel)));
        (bool done, bytes memory answer) = attempt(providerOf(channel), what);
        if (done) ended(channel, abi.decode(answer, (uint128)));
    }

    function settleAndClose(uint256 seed, uint64 units) external {
        uint256 channel = pick(seed, true);
        if (_books[channel].isOpen || rarely(seed)) settle(channel, bound(units, 0, 1e9));
    }

    function settle(uint256 channel, uint256 usage) internal {
        Book storage b = _books[channel];
        IPayment.Terms memory t = termsOf(channel);
        bytes memory what = abi.encodeCall(
            IPayment.settleAndClose, (publisherOf(channel), podOf(channel), b.epoch, t, used(usage), unsigned())
        );
        (bool done, bytes memory answer) = attempt(providerOf(channel), what);
        if (!done) return;
        (uint128 due, uint128 back) = abi.decode(answer, (uint128, uint128));
        paid(channel, due, least(b.price * usage / 1e18, cap(b)));
        ended(channel, back);
    }

    function ended(uint256 channel, uint256 back) internal {
        Book storage b = _books[channel];
        hold(b.isOpen && back == b.deposited - b.claimed, "another amount went back than was left");
        _flows[b.token].refunded += back;
        uint32 epoch = b.epoch;
        delete _books[channel];
        _books[channel].epoch = epoch;
    }

    // --- What holds ---

    /// Reverts where a balance, the contract's books or a bound is not what it must be.
    function check() external view {
        if (bytes(broken).length != 0) revert NotHeld(broken);
        ok(!tokens[TOKENS - 1].calledBack(), "a token's call back went through");
        uint256[TOKENS] memory liabilities = checkChannels();
        for (uint256 i = 0; i < TOKENS; ++i) {
            eq(tokens[i].balanceOf(address(payment)), liabilities[i]);
            eq(_flows[i].paidIn, _flows[i].paidOut + _flows[i].refunded + liabilities[i]);
        }
    }

    /// The contract's books are those kept here, and within the bounds that it promises.
    function checkChannels() internal view returns (uint256[TOKENS] memory liabilities) {
        IPayment.Channel[] memory onChain = payment.channels(allIds());
        for (uint256 i = 0; i < CHANNELS; ++i) {
            Book memory b = _books[i];
            eq(onChain[i].deposited, b.deposited);
            eq(onChain[i].claimed, b.claimed);
            eq(onChain[i].unlockAt, b.unlockAt);
            eq(onChain[i].epoch, b.epoch);
            ok(!b.isOpen || b.claimed <= bounded(b), "the provider got more than it earned");
            liabilities[b.token] += b.deposited - b.claimed;
        }
    }

    function allIds() internal view returns (bytes32[] memory ids) {
        ids = new bytes32[](CHANNELS);
        for (uint256 i = 0; i < CHANNELS; ++i) {
            ids[i] = _ids[i];
        }
    }

    // --- The end ---

    /// Both sides get everything out once the tokens let them: of some channels the provider settles, of others the
    /// publisher withdraws.
    function finish() external {
        for (uint256 i = 0; i < TOKENS; ++i) {
            tokens[i].set(MoodyToken.Mood.Honest);
            for (uint256 channel = 0; channel < CHANNELS; ++channel) {
                tokens[i].setBlocked(publisherOf(channel), false);
                tokens[i].setBlocked(payoutOf(channel), false);
            }
        }
        for (uint256 channel = 0; channel < CHANNELS; ++channel) {
            if (!_books[channel].isOpen) continue;
            if (channel % 2 == 0) settle(channel, 1e9);
            else leave(channel);
        }
        for (uint256 i = 0; i < TOKENS; ++i) {
            hold(tokens[i].balanceOf(address(payment)) == 0, "money is stuck");
        }
    }

    function leave(uint256 channel) internal {
        Book storage b = _books[channel];
        (address provider_, bytes32 pod) = (providerOf(channel), podOf(channel));
        vm.startPrank(publisherOf(channel));
        if (b.unlockAt == 0) b.unlockAt = payment.unlock(provider_, pod);
        if (clock < b.unlockAt) pass(b.unlockAt - clock);
        uint128 back = payment.withdraw(provider_, pod);
        vm.stopPrank();
        ended(channel, back);
    }
}
