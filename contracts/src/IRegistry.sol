// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The providers of the market
/// @notice Each provider keeps one entry of bounded size, which only its own key changes. Clients list the entries in
/// bounded calls, or follow the events. A price here is an offer to new channels; open ones keep their terms.
interface IRegistry {
    /// @notice What a provider asks for in one token.
    struct Offer {
        address token;
        /// As `IPayment.Terms.prices`.
        uint256[4] prices;
    }

    /// @notice What a provider publishes of itself. Lengths are in bytes.
    struct Entry {
        /// For people; 1 to 64.
        string name;
        /// Where its machines stand, in its own words; at most 8 of 1 to 64.
        string[] regions;
        /// Multiaddresses with the provider's peer id, best first; 1 to 8 of 1 to 256.
        string[] addresses;
        /// One per token that it takes, best first; 1 to 8.
        Offer[] offers;
        /// The Payment contract that it works with.
        address payment;
        /// Where its channels pay: `IPayment.Terms.payout`.
        address payout;
        /// What it proves about its machines: 0 nothing, 1 AMD SEV-SNP, 2 Intel TDX, 3 a vTPM.
        uint8 attestation;
        /// SHA-256 of the longer description that the provider signed, or zero if there is none. IPFS finds it as the
        /// raw block with this digest (CIDv1, codec raw, sha2-256).
        bytes32 description;
    }

    /// @notice A provider wrote its entry, for the first time or anew.
    event Registered(address indexed provider, Entry entry);
    /// @notice A provider took its entry away.
    event Unregistered(address indexed provider);

    /// @notice The caller has an entry already; `update` changes it.
    error AlreadyRegistered(address provider);
    /// @notice There is no entry of this provider.
    error NotRegistered(address provider);
    /// @notice A field of the entry has `length` bytes or items, and must have between `min` and `max`.
    error LengthOutOfBounds(string field, uint256 length, uint256 min, uint256 max);
    /// @notice An address in this field is zero.
    error ZeroAddress(string field);

    /// @notice Publishes the caller's first entry.
    function register(Entry calldata entry) external;

    /// @notice Replaces the caller's entry.
    function update(Entry calldata entry) external;

    /// @notice Removes the caller's entry.
    function unregister() external;

    /// @notice The entry of one provider.
    function get(address provider) external view returns (Entry memory);

    /// @notice How many providers there are.
    function count() external view returns (uint256);

    /// @notice At most `limit` entries, from the newest to the oldest. Who leaves while another lists makes that list
    /// show an entry twice, but never miss one.
    /// @param cursor Zero for the first call, then what the last call returned.
    /// @return providers Whose entries they are.
    /// @return entries The entries.
    /// @return next For the next call; zero when there are no more.
    function list(uint256 cursor, uint256 limit)
        external
        view
        returns (address[] memory providers, Entry[] memory entries, uint256 next);
}
