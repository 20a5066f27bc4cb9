// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRegistry} from "../src/IRegistry.sol";
import {Registry} from "../src/Registry.sol";
import {Base} from "./Base.sol";

contract RegistryTest is Base {
    Registry internal registry;

    function setUp() public override {
        registry = new Registry();
    }

    function entry() internal pure returns (IRegistry.Entry memory e) {
        e.name = "Example";
        e.regions = texts(1, 7);
        e.addresses = texts(2, 90);
        e.offers = new IRegistry.Offer[](1);
        e.offers[0].token = address(1);
        e.offers[0].prices[3] = 7;
        e.payment = address(2);
        e.payout = address(3);
        e.attestation = 1;
        e.description = bytes32(uint256(4));
    }

    function texts(uint256 n, uint256 length) internal pure returns (string[] memory all) {
        all = new string[](n);
        for (uint256 i = 0; i < n; ++i) {
            all[i] = string(new bytes(length));
        }
    }

    function register(address account) internal {
        IRegistry.Entry memory e = entry();
        e.description = bytes32(uint256(uint160(account)));
        vm.prank(account);
        registry.register(e);
    }

    function refuses(IRegistry.Entry memory e, string memory field, uint256 length, uint256 min, uint256 max) internal {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.LengthOutOfBounds.selector, field, length, min, max));
        registry.register(e);
    }

    function test_lengths_are_bounded() public {
        IRegistry.Entry memory e = entry();
        e.name = "";
        refuses(e, "name", 0, 1, 64);
        e.name = string(new bytes(65));
        refuses(e, "name", 65, 1, 64);
        e = entry();
        e.regions = texts(9, 1);
        refuses(e, "regions", 9, 0, 8);
        e.regions = texts(1, 65);
        refuses(e, "regions", 65, 1, 64);
        e = entry();
        e.addresses = texts(0, 0);
        refuses(e, "addresses", 0, 1, 8);
        e.addresses = texts(9, 1);
        refuses(e, "addresses", 9, 1, 8);
        e.addresses = texts(1, 0);
        refuses(e, "addresses", 0, 1, 256);
        e.addresses = texts(1, 257);
        refuses(e, "addresses", 257, 1, 256);
        e = entry();
        e.offers = new IRegistry.Offer[](0);
        refuses(e, "offers", 0, 1, 8);
        e.offers = new IRegistry.Offer[](9);
        refuses(e, "offers", 9, 1, 8);
    }

    function refusesZero(IRegistry.Entry memory e, string memory field) internal {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ZeroAddress.selector, field));
        registry.register(e);
    }

    function test_addresses_are_not_zero() public {
        IRegistry.Entry memory e = entry();
        e.offers[0].token = address(0);
        refusesZero(e, "offers");
        e = entry();
        e.payment = address(0);
        refusesZero(e, "payment");
        e = entry();
        e.payout = address(0);
        refusesZero(e, "payout");
    }

    function test_what_is_registered_is_read_back() public {
        IRegistry.Entry memory e = entry();
        vm.expectEmit(address(registry));
        emit IRegistry.Registered(provider, e);
        vm.prank(provider);
        registry.register(e);
        eq(keccak256(abi.encode(registry.get(provider))), keccak256(abi.encode(e)));
        eq(registry.count(), 1);
    }

    function test_a_second_registration_is_refused() public {
        register(provider);
        IRegistry.Entry memory e = entry();
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.AlreadyRegistered.selector, provider));
        registry.register(e);
    }

    function test_only_who_is_registered_updates_and_leaves() public {
        bytes memory why = abi.encodeWithSelector(IRegistry.NotRegistered.selector, provider);
        IRegistry.Entry memory e = entry();
        vm.startPrank(provider);
        vm.expectRevert(why);
        registry.update(e);
        vm.expectRevert(why);
        registry.unregister();
        vm.expectRevert(why);
        registry.get(provider);
    }

    function test_update_replaces_the_entry() public {
        register(provider);
        IRegistry.Entry memory e = entry();
        e.name = "Another";
        e.addresses = texts(1, 20);
        vm.prank(provider);
        registry.update(e);
        eq(keccak256(abi.encode(registry.get(provider))), keccak256(abi.encode(e)));
        eq(registry.count(), 1);
    }

    function test_who_leaves_leaves_nothing_behind() public {
        register(provider);
        register(stranger);
        // The slot of the entry's length; the entry's own follow from it.
        bytes32 slot = keccak256(abi.encode(provider, uint256(0)));
        ok(vm.load(address(registry), slot) != 0, "the entry is somewhere else");
        vm.expectEmit(address(registry));
        emit IRegistry.Unregistered(provider);
        vm.prank(provider);
        registry.unregister();
        eq(vm.load(address(registry), slot), 0);
        eq(registry.count(), 1);
        eq(registry.get(stranger).description, bytes32(uint256(uint160(stranger))));
        vm.prank(stranger);
        registry.unregister();
        eq(registry.count(), 0);
        register(provider);
        eq(registry.count(), 1);
    }

    function testFuzz_every_page_size_lists_everyone_once(uint8 n, uint8 limit) public {
        uint256 providers = bound(n, 0, 20);
        uint256 size = bound(limit, 1, 25);
        for (uint256 i = 1; i <= providers; ++i) {
            register(address(uint160(i)));
        }
        uint256 cursor;
        uint256 seen;
        do {
            (address[] memory accounts, IRegistry.Entry[] memory entries, uint256 next) = registry.list(cursor, size);
            for (uint256 i = 0; i < accounts.length; ++i) {
                eq(accounts[i], address(uint160(providers - seen - i)));
                eq(entries[i].description, bytes32(uint256(uint160(accounts[i]))));
            }
            seen += accounts.length;
            cursor = next;
        } while (cursor != 0);
        eq(seen, providers);
    }

    function testFuzz_a_listing_misses_nobody_while_others_leave(uint8 leaver, uint8 limit) public {
        uint256 providers = 12;
        for (uint256 i = 1; i <= providers; ++i) {
            register(address(uint160(i)));
        }
        address gone = address(uint160(bound(leaver, 1, providers)));
        bool[] memory seen = new bool[](providers + 1);
        uint256 cursor;
        bool left;
        do {
            address[] memory accounts;
            (accounts,, cursor) = registry.list(cursor, bound(limit, 1, 11));
            for (uint256 i = 0; i < accounts.length; ++i) {
                seen[uint160(accounts[i])] = true;
            }
            if (!left) {
                vm.prank(gone);
                registry.unregister();
                left = true;
            }
        } while (cursor != 0);
        for (uint256 i = 1; i <= providers; ++i) {
            ok(seen[i] || address(uint160(i)) == gone, "someone was missed");
        }
    }

    function page(uint256 cursor) external view returns (uint256 listed, uint256 next) {
        uint256 before = gasleft();
        address[] memory accounts;
        (accounts,, next) = registry.list(cursor, 50);
        ok(before - gasleft() < 10_000_000, "a page costs too much");
        return (accounts.length, next);
    }

    /// In one transaction, as the tests see it: each of its own would take minutes.
    function registerMany(uint256 n) external {
        IRegistry.Entry memory e = entry();
        for (uint256 i = 1; i <= n; ++i) {
            vm.prank(address(uint160(i)));
            registry.register(e);
        }
    }

    /// Calls of nodes that serve light clients may use 50 million gas, as a rule.
    function test_ten_thousand_are_listed_in_calls_of_bounded_cost() public {
        vm.pauseGasMetering();
        this.registerMany(10_000);
        vm.resumeGasMetering();
        (uint256 cursor, uint256 seen) = (0, 0);
        do {
            uint256 listed;
            (listed, cursor) = this.page(cursor);
            seen += listed;
        } while (cursor != 0);
        eq(seen, 10_000);
    }

    function test_a_page_of_the_largest_entries_is_of_bounded_cost() public {
        IRegistry.Entry memory e = entry();
        e.name = string(new bytes(64));
        e.regions = texts(8, 64);
        e.addresses = texts(8, 256);
        e.offers = new IRegistry.Offer[](8);
        for (uint256 i = 0; i < 8; ++i) {
            e.offers[i].token = address(1);
            e.offers[i].prices = [type(uint256).max, type(uint256).max, type(uint256).max, type(uint256).max];
        }
        for (uint256 i = 1; i <= 50; ++i) {
            vm.prank(address(uint160(i)));
            registry.register(e);
        }
        uint256 before = gasleft();
        registry.list(0, 50);
        ok(before - gasleft() < 50_000_000, "a page costs too much");
    }
}
