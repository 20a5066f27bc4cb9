// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Registry
/// @dev Documented in IRegistry.
contract Registry is IRegistry {
    /// Entries as ABI encoding: they are only ever read and written whole.
    mapping(address provider => bytes) private _entries;
    address[] private _providers;
    /// Position in `_providers`, counted from 1.
    mapping(address provider => uint256) private _positions;

    /// @inheritdoc IRegistry
    function register(Entry calldata entry) external {
        if (_positions[msg.sender] != 0) revert AlreadyRegistered(msg.sender);
        _providers.push(msg.sender);
        _positions[msg.sender] = _providers.length;
        _write(entry);
    }

    /// @inheritdoc IRegistry
    function update(Entry calldata entry) external {
        _registered(msg.sender);
        _write(entry);
    }

    /// @inheritdoc IRegistry
    function unregister() external {
        uint256 position = _registered(msg.sender);
        address last = _providers[_providers.length - 1];
        // Only ever towards the oldest: a listing that is under way has that end still before it.
        _providers[position - 1] = last;
        _positions[last] = position;
        _providers.pop();
        delete _positions[msg.sender];
        delete _entries[msg.sender];
        emit Unregistered(msg.sender);
    }

    /// @inheritdoc IRegistry
    function get(address provider) external view returns (Entry memory) {
        _registered(provider);
        return _read(provider);
    }

    /// @inheritdoc IRegistry
    function count() external view returns (uint256) {
        return _providers.length;
    }

    /// @inheritdoc IRegistry
    function list(uint256 cursor, uint256 limit)
        external
        view
        returns (address[] memory providers, Entry[] memory entries, uint256 next)
    {
        uint256 end = _providers.length;
        if (cursor != 0) end = Math.min(cursor, end);
        uint256 size = Math.min(limit, end);
        providers = new address[](size);
        entries = new Entry[](size);
        for (uint256 i = 0; i < size; ++i) {
            providers[i] = _providers[end - 1 - i];
            entries[i] = _read(providers[i]);
        }
        next = end - size;
    }

    function _registered(address provider) private view returns (uint256 position) {
        position = _positions[provider];
        if (position == 0) revert NotRegistered(provider);
    }

    function _read(address provider) private view returns (Entry memory) {
        return abi.decode(_entries[provider], (Entry));
    }

    function _write(Entry calldata entry) private {
        _check(entry);
        _entries[msg.sender] = abi.encode(entry);
        emit Registered(msg.sender, entry);
    }

    function _check(Entry calldata entry) private pure {
        _bound("name", bytes(entry.name).length, 1, 64);
        _boundAll("regions", entry.regions, 0, 64);
        _boundAll("addresses", entry.addresses, 1, 256);
        _bound("offers", entry.offers.length, 1, 8);
        for (uint256 i = 0; i < entry.offers.length; ++i) {
            if (entry.offers[i].token == address(0)) revert ZeroAddress("offers");
        }
        if (entry.payment == address(0)) revert ZeroAddress("payment");
        if (entry.payout == address(0)) revert ZeroAddress("payout");
    }

    /// At least `min` and at most 8 texts, each of 1 to `longest` bytes.
    function _boundAll(string memory field, string[] calldata texts, uint256 min, uint256 longest) private pure {
        _bound(field, texts.length, min, 8);
        for (uint256 i = 0; i < texts.length; ++i) {
            _bound(field, bytes(texts[i]).length, 1, longest);
        }
    }

    function _bound(string memory field, uint256 length, uint256 min, uint256 max) private pure {
        if (length < min || length > max) revert LengthOutOfBounds(field, length, min, max);
    }
}
