// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {Payment} from "../src/Payment.sol";
import {TestToken} from "./TestToken.sol";
import {Vm} from "./Vm.sol";

/// Assertions, and a publisher and a provider with a Payment contract and a token.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    bool public IS_TEST = true;

    uint32 internal constant DELAY = 1 days;
    bytes32 internal constant POD = keccak256("pod");
    uint256 internal constant PUBLISHER_KEY = 0xA11CE;
    uint256 internal constant METER_KEY = 0x3E7E2;

    address internal publisher = vm.addr(PUBLISHER_KEY);
    address internal provider = address(0xB0B);
    address internal payout = address(0xCA5);
    address internal stranger = address(0xBAD);
    Payment internal payment;
    TestToken internal token;
    /// The time: kept here, since it is what the tests move.
    uint256 internal clock = 1_800_000_000;
    bytes32 internal id;

    function setUp() public virtual {
        vm.warp(clock);
        payment = new Payment(1 hours, 90 days);
        token = new TestToken();
        id = payment.channelId(publisher, provider, POD);
        fund(token, publisher);
    }

    function fund(TestToken coin, address account) internal {
        coin.mint(account, 1e30);
        vm.prank(account);
        coin.approve(address(payment), type(uint256).max);
    }

    function pass(uint256 time) internal {
        clock += time;
        vm.warp(clock);
    }

    /// One unit of usage of the first kind costs one of the token.
    function terms() internal view returns (IPayment.Terms memory t) {
        t.token = token;
        t.prices[0] = 1e18;
        t.payout = payout;
    }

    function meteredTerms() internal view returns (IPayment.Terms memory t) {
        t = terms();
        t.meterKey = vm.addr(METER_KEY);
    }

    /// A thousand may be claimed per second.
    function opening(uint128 amount) internal view returns (IPayment.Opening memory) {
        return IPayment.Opening({
            provider: provider, podId: POD, amount: amount, maxRate: 1000e9, unlockDelay: DELAY, terms: terms()
        });
    }

    function open(uint128 amount) internal {
        open(opening(amount));
    }

    function open(IPayment.Opening memory o) internal {
        vm.prank(publisher);
        payment.open(o);
    }

    function used(uint256 units) internal pure returns (uint256[2] memory usage) {
        usage[0] = units;
    }

    function unsigned() internal pure returns (IPayment.Signature memory) {}

    function claim(uint256 units) internal returns (uint128) {
        vm.prank(provider);
        return payment.claim(id, 1, terms(), used(units), unsigned());
    }

    function refused(IPayment.Refusal reason) internal view returns (bytes memory) {
        return abi.encodeWithSelector(IPayment.ClaimRefused.selector, id, reason);
    }

    function unlock() internal {
        vm.prank(publisher);
        payment.unlock(provider, POD);
    }

    function withdraw() internal {
        vm.prank(publisher);
        payment.withdraw(provider, POD);
    }

    function close() internal {
        vm.prank(provider);
        payment.close(publisher, POD);
    }

    function signed(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        return signedFor(key, structHash, address(payment), block.chainid);
    }

    function signedFor(uint256 key, bytes32 structHash, address at, uint256 chain)
        internal
        pure
        returns (bytes memory)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Apocryph Payment"),
                keccak256("1"),
                chain,
                at
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked("\x19\x01", domain, structHash)));
        return abi.encodePacked(r, s, v);
    }

    /// The short form of a signature of 65 bytes.
    function compact(bytes memory signature) internal pure returns (IPayment.Signature memory) {
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        return IPayment.Signature(r, s | bytes32(uint256(uint8(signature[64]) - 27) << 255));
    }

    function statement(uint32 epoch, uint256[2] memory usage) internal view returns (bytes32) {
        bytes32 kind = keccak256("UsageStatement(bytes32 channel,uint32 epoch,uint256[2] usage)");
        return keccak256(abi.encode(kind, id, epoch, keccak256(abi.encode(usage))));
    }

    function voucher(uint32 epoch, uint128 total) internal view returns (bytes32) {
        return keccak256(abi.encode(keccak256("Voucher(bytes32 channel,uint32 epoch,uint128 total)"), id, epoch, total));
    }

    function eq(uint256 left, uint256 right) internal pure {
        if (left != right) revert NotEqual(left, right);
    }

    function eq(address left, address right) internal pure {
        eq(uint256(uint160(left)), uint256(uint160(right)));
    }

    function eq(bytes32 left, bytes32 right) internal pure {
        eq(uint256(left), uint256(right));
    }

    function ok(bool condition, string memory what) internal pure {
        if (!condition) revert NotHeld(what);
    }

    function bound(uint256 x, uint256 min, uint256 max) internal pure returns (uint256) {
        return max - min == type(uint256).max ? x : min + x % (max - min + 1);
    }

    error NotEqual(uint256 left, uint256 right);
    error NotHeld(string what);
}
