// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Payment channels between the publishers and the providers of pods
/// @notice One channel per (publisher, provider, pod) holds the publisher's deposit in one ERC-20 token. The provider
/// reports cumulative usage; the contract prices it and pays. It never takes an amount from the provider's word.
///
///     owed     = floor(sum of prices[i] * usage[i] / 1e18)
///     cap      = floor(maxRate * (min(now, unlockAt) - openedAt) / 1e9), unlockAt counting only once it is set
///     claimed' = min(owed, cap, deposited), and never less than claimed
///
/// The life of a channel; each `open` begins a new epoch, and nothing signed or owed in an older one counts:
///
///              open                     unlock                    unlockAt passes
///     closed ---------> open ---------------------> unlocking ---------------------> unlocked
///       ^                |  <---------------------      |                               |
///       |                |        cancelUnlock          |                               |
///       '----------------'------------------------------'-------------------------------'
///           close, settleAndClose: by the provider, at any time     withdraw: by the publisher, once unlocked
///
/// Every amount is in the token's smallest unit and every time in seconds. The channels of one token are not touched
/// by the misbehaviour of another. A token that takes a fee on transfer is refused; one that shrinks the balances of
/// its holders afterwards harms only those who hold channels in it.
interface IPayment {
    /// @notice What publisher and provider agreed on for one epoch. The channel stores its hash, bound to the
    /// provider's address, and `Opened` emits it in full; only claims need it again.
    struct Terms {
        /// What the channel holds and pays.
        IERC20 token;
        /// Price per unit of usage of each kind, in 1e-18 of the token's smallest unit: eight numbers of 128 bits, two
        /// in a word, the lowest bits first. The kinds, in order, and their units: cpu used (core-microseconds), cpu
        /// reserved (core-microseconds), memory (MiB-milliseconds), storage (MiB-milliseconds), ingress (bytes), egress
        /// (bytes), gpu (device-milliseconds), public addresses (address-milliseconds).
        uint256[4] prices;
        /// Key that must sign every usage statement, or zero if none has to. It lives in the provider's TEE.
        address meterKey;
        /// Where claims are paid.
        address payout;
    }

    /// @notice What `open` is called with.
    struct Opening {
        address provider;
        /// Chosen by the publisher: the keccak256 of the pod's name.
        bytes32 podId;
        uint128 amount;
        /// The most that can be claimed per second, in 1e-9 of the token's smallest unit.
        uint96 maxRate;
        /// Seconds between `unlock` and `withdraw`.
        uint32 unlockDelay;
        Terms terms;
    }

    /// @notice An EIP-2612 permit of the publisher for the opening's amount.
    struct Permit {
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice An ERC-3009 authorization of the publisher for this contract to receive the opening's amount.
    struct Authorization {
        /// The authorization is good after this time and before the next one.
        uint256 validAfter;
        uint256 validBefore;
        /// Chosen by the publisher; the token takes each once.
        bytes32 nonce;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice A signature in the short form of EIP-2098.
    struct Signature {
        bytes32 r;
        bytes32 vs;
    }

    /// @notice One item of `claimMany`.
    struct Claim {
        bytes32 id;
        /// Which of the call's terms are this channel's.
        uint256 terms;
        /// In which the usage arose.
        uint32 epoch;
        /// Cumulative usage of the epoch: eight numbers of 64 bits in the order of the prices, four in a word, the
        /// lowest bits first.
        uint256[2] usage;
    }

    /// @notice A channel as the views show it. A channel that is not open has nothing but its last epoch.
    struct Channel {
        IERC20 token;
        uint128 deposited;
        uint128 claimed;
        uint96 maxRate;
        /// Zero when not open.
        uint40 openedAt;
        /// Zero when not unlocking.
        uint40 unlockAt;
        uint32 unlockDelay;
        /// Grows by one with each opening; zero if never opened.
        uint32 epoch;
        bytes32 termsHash;
    }

    /// @notice Why a claim is not paid.
    enum Refusal {
        None,
        /// The channel is not open.
        NotOpen,
        /// The terms are not those of the channel, or the caller is not its provider.
        WrongTerms,
        /// The usage is another epoch's: the channel was closed and opened again.
        WrongEpoch,
        /// The terms name a meter key, and the usage is not signed by it for this channel and epoch.
        BadSignature,
        /// Everything that is due was claimed before.
        NothingDue,
        /// The token refused the transfer.
        TransferFailed
    }

    /// @notice An epoch of a channel began.
    event Opened(
        bytes32 indexed id,
        address indexed publisher,
        address indexed provider,
        bytes32 podId,
        uint32 epoch,
        uint128 deposited,
        uint96 maxRate,
        uint32 unlockDelay,
        Terms terms
    );
    /// @notice `amount` was added; the deposit is `deposited` now.
    event ToppedUp(bytes32 indexed id, address indexed from, uint128 amount, uint128 deposited);
    /// @notice The provider was paid what `usage` was worth beyond earlier claims.
    event Claimed(bytes32 indexed id, uint256[2] usage, uint128 paid);
    /// @notice The provider was paid what a voucher was worth beyond earlier claims.
    event Redeemed(bytes32 indexed id, uint128 paid);
    /// @notice An item of `claimMany` was left out.
    event ClaimSkipped(bytes32 indexed id, Refusal reason);
    /// @notice The publisher can withdraw from `unlockAt` on.
    event UnlockStarted(bytes32 indexed id, uint40 unlockAt);
    /// @notice The publisher changed its mind.
    event UnlockCancelled(bytes32 indexed id);
    /// @notice The epoch ended; `refunded` went back to the publisher.
    event Closed(bytes32 indexed id, uint32 epoch, uint128 claimed, uint128 refunded);
    /// @notice The first channel in a token was opened; the token is known by `code` from now on.
    event TokenAdded(uint32 indexed code, IERC20 indexed token);

    /// @notice An address that must not be zero is.
    error ZeroAddress();
    /// @notice An amount that must not be zero is.
    error ZeroAmount();
    /// @notice A publisher cannot be its own provider.
    error SelfDealing();
    /// @notice The bounds given to the constructor are not 0 < min <= max < 2^24.
    error InvalidDelayBounds(uint32 min, uint32 max);
    /// @notice The unlock delay is outside the bounds of this contract.
    error UnlockDelayOutOfBounds(uint32 delay, uint32 min, uint32 max);
    /// @notice The channel is open already.
    error AlreadyOpen(bytes32 id);
    /// @notice There is no open channel with this id.
    error NotOpen(bytes32 id);
    /// @notice The channel is unlocking already, since it can be withdrawn from at `unlockAt`.
    error AlreadyUnlocking(bytes32 id, uint40 unlockAt);
    /// @notice The channel is not unlocking.
    error NotUnlocking(bytes32 id);
    /// @notice The delay has passed; all that is left is `withdraw`.
    error UnlockExpired(bytes32 id, uint40 unlockAt);
    /// @notice The publisher can withdraw from `unlockAt` on, not yet.
    error StillLocked(bytes32 id, uint40 unlockAt);
    /// @notice There are signatures, but not one for each claim.
    error SignatureCount(uint256 claims, uint256 signatures);
    /// @notice An array of the call has `given` items, and may have `max`.
    error TooManyItems(uint256 given, uint256 max);
    /// @notice There is no contract at the token's address.
    error NotAToken(IERC20 token);
    /// @notice The token moved another amount than it was asked to, as one with a fee on transfer does.
    error WrongAmountReceived(IERC20 token, uint256 expected, uint256 received);
    /// @notice The claim is not paid.
    error ClaimRefused(bytes32 id, Refusal reason);
    /// @notice No token has this code.
    error UnknownToken(uint32 code);

    /// @notice Opens and funds a channel of the caller with `opening.provider`, in a new epoch. The contract needs an
    /// allowance of `opening.amount`.
    /// @return id The channel's id: keccak256(abi.encode(publisher, provider, podId)).
    function open(Opening calldata opening) external returns (bytes32 id);

    /// @notice As `open`, with the allowance given by an EIP-2612 permit. A permit that someone else has submitted
    /// before, or that fails, does no harm as long as the allowance suffices.
    function openWithPermit(Opening calldata opening, Permit calldata permit) external returns (bytes32 id);

    /// @notice As `open`, with the amount moved by an ERC-3009 authorization in place of an allowance. It names this
    /// contract as the receiver, and this contract uses it for its signer alone: nobody else can submit it. Reverts as
    /// the token does where it is expired, used before, or another's.
    function openWithAuthorization(Opening calldata opening, Authorization calldata authorization)
        external
        returns (bytes32 id);

    /// @notice Adds `amount` of the caller's tokens to an open channel. Anyone may; it belongs to the publisher from
    /// then on. An unlock under way is not touched.
    function topUp(bytes32 id, uint128 amount) external;

    /// @notice Pays what `usage` is worth and was not paid before. Only the provider can.
    /// @param epoch In which the usage arose: a claim that is mined after the channel was opened anew is refused.
    /// @param usage As in `Claim`.
    /// @param signature The meter key's, over UsageStatement(bytes32 channel,uint32 epoch,uint256[2] usage) (EIP-712);
    /// zeros if the terms name no key.
    /// @return paid What was paid.
    function claim(
        bytes32 id,
        uint32 epoch,
        Terms calldata terms,
        uint256[2] calldata usage,
        Signature calldata signature
    ) external returns (uint128 paid);

    /// @notice Claims for many channels. An item that cannot be paid is skipped with an event that says why.
    /// Neighbours with the same token and payout share one transfer: order the items by them.
    /// @param terms The different terms of the channels, each once; at most 512.
    /// @param claims At most 512.
    /// @param signatures The meter keys', one for each claim, zeros for those without a key; or none at all.
    function claimMany(Terms[] calldata terms, Claim[] calldata claims, Signature[] calldata signatures) external;

    /// @notice Pays what the publisher signed for, without regard to usage and cap. Only the provider can.
    /// @param total The epoch's cumulative total, of which at most the deposit is paid.
    /// @param signature The publisher's, over Voucher(bytes32 channel,uint32 epoch,uint128 total) (EIP-712, ERC-1271).
    /// @return paid What was paid.
    function redeem(address publisher, bytes32 podId, Terms calldata terms, uint128 total, bytes calldata signature)
        external
        returns (uint128 paid);

    /// @notice Starts the delay after which the caller can withdraw. From its end on nothing more accrues to the cap.
    /// @return unlockAt When that is.
    function unlock(address provider, bytes32 podId) external returns (uint40 unlockAt);

    /// @notice Takes the caller's unlock back, while its delay has not passed.
    function cancelUnlock(address provider, bytes32 podId) external;

    /// @notice Ends the epoch once the delay has passed and gives the caller, the publisher, all that was not claimed.
    /// The provider can claim until this is called.
    /// @return refunded What was given back.
    function withdraw(address provider, bytes32 podId) external returns (uint128 refunded);

    /// @notice Ends the epoch at once and gives the publisher all that was not claimed. Only the provider can.
    /// @return refunded What was given back.
    function close(address publisher, bytes32 podId) external returns (uint128 refunded);

    /// @notice Claims what is due, if anything is, and closes.
    /// @return paid What was paid.
    /// @return refunded What was given back.
    function settleAndClose(
        address publisher,
        bytes32 podId,
        uint32 epoch,
        Terms calldata terms,
        uint256[2] calldata usage,
        Signature calldata signature
    ) external returns (uint128 paid, uint128 refunded);

    /// @notice The id of the channel of these three.
    function channelId(address publisher, address provider, bytes32 podId) external pure returns (bytes32);

    /// @notice The hash that a channel stores of its terms: keccak256(abi.encode(provider, terms)).
    function termsHash(address provider, Terms calldata terms) external pure returns (bytes32);

    /// @notice One channel.
    function channel(bytes32 id) external view returns (Channel memory);

    /// @notice Many channels, at most 512, in the order asked for.
    function channels(bytes32[] calldata ids) external view returns (Channel[] memory);

    /// @notice What `usage` is worth at `prices`, before cap and deposit.
    function owed(uint256[4] calldata prices, uint256[2] calldata usage) external pure returns (uint256);

    /// @notice The most that the provider could have claimed in all by now, before the deposit bounds it; zero if the
    /// channel is not open.
    function cap(bytes32 id) external view returns (uint256);

    /// @notice Seconds for which the deposit lasts at least, used at `maxRate` from the opening on; zero if it may be
    /// used up or the channel is not open, 2^256-1 if the rate is zero.
    function runway(bytes32 id) external view returns (uint256);

    /// @notice The token with this code. Codes count from 1.
    function tokenOf(uint32 code) external view returns (IERC20);

    /// @notice The code of a token; zero if no channel was ever opened in it.
    function codeOf(IERC20 token) external view returns (uint32);

    /// @notice The shortest unlock delay of a channel, in seconds.
    function minUnlockDelay() external view returns (uint32);

    /// @notice The longest unlock delay of a channel, in seconds.
    function maxUnlockDelay() external view returns (uint32);
}
