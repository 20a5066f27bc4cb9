// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPayment} from "../src/IPayment.sol";
import {IRegistry} from "../src/IRegistry.sol";
import {Registry} from "../src/Registry.sol";
import {Base} from "./Base.sol";

/// What the calls cost, the transaction's own cost included; kept in snapshots/. Numbers are as they are in use:
/// five priced kinds, an 18-digit token, a contract that holds other channels.
contract GasTest is Base {
    function setUp() public override {
        super.setUp();
        openPod(keccak256("another"));
    }

    function typicalTerms() internal view returns (IPayment.Terms memory t) {
        t.prices[0] = 2_777_777_777_777_777_777_777_777 | 277_777_777_777_777_777_777_777 << 128;
        t.prices[1] = 13_888_888_888_888_888 | 138_888_888_888_888 << 128;
        t.prices[2] = 9_313_225_746_154_785_156 << 128;
        t.token = token;
        t.payout = payout;
    }

    function typicalUsage(uint256 hour) internal pure returns (uint256[2] memory usage) {
        uint256 cpu = hour * 1_834_567_891;
        usage[0] = cpu | (hour * 1_800_000_000) << 64 | (hour * 921_600_000) << 128 | (hour * 3_686_400_000) << 192;
        usage[1] = hour * 123_456_789 | (hour * 345_678_901) << 64;
    }

    function typicalOpening(bytes32 podId) internal view returns (IPayment.Opening memory o) {
        o = opening(25e18);
        o.podId = podId;
        o.maxRate = 12_345_678_901_234_567_890_123;
        o.terms = typicalTerms();
    }

    function openPod(bytes32 podId) internal {
        open(typicalOpening(podId));
    }

    /// Keeps what the last call cost, which is to be no more than `target`.
    function costs(string memory name, uint256 target) internal {
        ok(vm.snapshotGasLastCall("Payment", name) <= target, name);
    }

    function test_open() public {
        IPayment.Opening memory o = typicalOpening(POD);
        vm.prank(publisher);
        payment.open(o);
        costs("open", 122_000);
    }

    function test_topUp() public {
        openPod(POD);
        vm.prank(publisher);
        payment.topUp(id, 5e18);
        vm.snapshotGasLastCall("Payment", "topUp");
    }

    function test_claims() public {
        openPod(POD);
        pass(10 hours);
        IPayment.Terms memory t = typicalTerms();
        vm.prank(provider);
        payment.claim(id, 1, t, typicalUsage(1), unsigned());
        costs("claim, first of a provider", 75_000);
        vm.prank(provider);
        payment.claim(id, 1, t, typicalUsage(2), unsigned());
        costs("claim, later", 55_000);
    }

    function test_claimMany() public {
        claimMany(10);
        costs("claimMany, 10 channels", 10 * 20_000);
        claimMany(100);
        costs("claimMany, 100 channels", 100 * 16_000);
    }

    function claimMany(uint256 n) internal {
        IPayment.Terms[] memory ts = new IPayment.Terms[](1);
        ts[0] = typicalTerms();
        IPayment.Claim[] memory claims = new IPayment.Claim[](n);
        for (uint256 i = 0; i < n; ++i) {
            bytes32 podId = keccak256(abi.encode(n, i));
            openPod(podId);
            claims[i] = IPayment.Claim(payment.channelId(publisher, provider, podId), 0, 1, typicalUsage(1));
        }
        token.mint(payout, 1);
        pass(10 hours);
        vm.prank(provider);
        payment.claimMany(ts, claims, new IPayment.Signature[](0));
    }

    function test_unlock() public {
        openPod(POD);
        vm.prank(publisher);
        payment.unlock(provider, POD);
        costs("unlock", 31_000);
        pass(DELAY);
        vm.prank(publisher);
        payment.withdraw(provider, POD);
        vm.snapshotGasLastCall("Payment", "withdraw with refund");
    }

    function test_close() public {
        openPod(POD);
        vm.prank(provider);
        payment.close(publisher, POD);
        costs("close with refund", 50_000);
    }

    function test_settleAndClose() public {
        openPod(POD);
        pass(10 hours);
        IPayment.Terms memory t = typicalTerms();
        vm.prank(provider);
        payment.settleAndClose(publisher, POD, 1, t, typicalUsage(1), unsigned());
        vm.snapshotGasLastCall("Payment", "settleAndClose");
    }

    function test_registry() public {
        Registry registry = new Registry();
        IRegistry.Entry memory e;
        e.name = "Example Provider";
        e.regions = new string[](1);
        e.regions[0] = "eu-west";
        e.addresses = new string[](2);
        e.addresses[0] = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        e.addresses[1] = "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        e.offers = new IRegistry.Offer[](1);
        e.offers[0] = IRegistry.Offer(address(token), typicalTerms().prices);
        e.payment = address(payment);
        e.payout = payout;
        e.description = keccak256("description");
        vm.prank(provider);
        registry.register(e);
        vm.snapshotGasLastCall("Registry", "register");
        e.offers[0].prices[0] += 1;
        vm.prank(provider);
        registry.update(e);
        vm.snapshotGasLastCall("Registry", "update");
        vm.prank(provider);
        registry.unregister();
        vm.snapshotGasLastCall("Registry", "unregister");
    }
}
