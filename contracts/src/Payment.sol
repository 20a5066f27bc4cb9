// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IPayment} from "./IPayment.sol";

/// @title Payment
/// @dev Documented in IPayment.
contract Payment is IPayment, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// A channel in three words.
    struct Slot {
        uint128 deposited;
        uint128 claimed;
        uint96 maxRate;
        uint40 openedAt;
        uint40 unlockAt;
        uint24 unlockDelay;
        uint24 epoch;
        uint32 token;
        bytes32 termsHash;
    }

    /// The items of `claimMany` from `first` on that share a transfer.
    struct Run {
        IERC20 token;
        address payout;
        uint256 first;
        uint256 sum;
    }

    uint256 private constant MAX_ITEMS = 512;
    uint256 private constant PRICE_SCALE = 1e18;
    uint256 private constant RATE_SCALE = 1e9;
    bytes32 private constant USAGE_STATEMENT =
        keccak256("UsageStatement(bytes32 channel,uint32 epoch,uint256[2] usage)");
    bytes32 private constant VOUCHER = keccak256("Voucher(bytes32 channel,uint32 epoch,uint128 total)");

    /// @inheritdoc IPayment
    uint32 public immutable minUnlockDelay;
    /// @inheritdoc IPayment
    uint32 public immutable maxUnlockDelay;

    mapping(bytes32 id => Slot) private _channels;
    mapping(uint32 code => IERC20) private _tokens;
    mapping(IERC20 token => uint32) private _codes;
    uint32 private _lastCode;

    constructor(uint32 minDelay, uint32 maxDelay) EIP712("Apocryph Payment", "1") {
        if (minDelay == 0 || minDelay > maxDelay || maxDelay > type(uint24).max) {
            revert InvalidDelayBounds(minDelay, maxDelay);
        }
        minUnlockDelay = minDelay;
        maxUnlockDelay = maxDelay;
    }

    // --- Publisher ---

    /// @inheritdoc IPayment
    function open(Opening calldata opening) external nonReentrant returns (bytes32 id) {
        id = _open(opening);
        _receive(opening.terms.token, opening.amount);
    }

    /// @inheritdoc IPayment
    function openWithPermit(Opening calldata opening, Permit calldata permit)
        external
        nonReentrant
        returns (bytes32 id)
    {
        id = _open(opening);
        // Someone may have submitted the permit already: what counts is the allowance.
        try IERC20Permit(address(opening.terms.token))
            .permit(msg.sender, address(this), opening.amount, permit.deadline, permit.v, permit.r, permit.s) {}
            catch {}
        _receive(opening.terms.token, opening.amount);
    }

    /// @inheritdoc IPayment
    function openWithAuthorization(Opening calldata opening, Authorization calldata authorization)
        external
        nonReentrant
        returns (bytes32 id)
    {
        id = _open(opening);
        IERC20 token = opening.terms.token;
        uint256 before = token.balanceOf(address(this));
        IERC3009(address(token))
            .receiveWithAuthorization(
                msg.sender,
                address(this),
                opening.amount,
                authorization.validAfter,
                authorization.validBefore,
                authorization.nonce,
                authorization.v,
                authorization.r,
                authorization.s
            );
        _expectReceived(token, before, opening.amount);
    }

    /// @inheritdoc IPayment
    function topUp(bytes32 id, uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        Slot storage slot = _opened(id);
        uint128 deposited = slot.deposited + amount;
        slot.deposited = deposited;
        emit ToppedUp(id, msg.sender, amount, deposited);
        _receive(_tokens[slot.token], amount);
    }

    /// @inheritdoc IPayment
    function unlock(address provider, bytes32 podId) external nonReentrant returns (uint40 unlockAt) {
        bytes32 id = channelId(msg.sender, provider, podId);
        Slot storage slot = _opened(id);
        if (slot.unlockAt != 0) revert AlreadyUnlocking(id, slot.unlockAt);
        unlockAt = uint40(block.timestamp) + slot.unlockDelay;
        slot.unlockAt = unlockAt;
        emit UnlockStarted(id, unlockAt);
    }

    /// @inheritdoc IPayment
    function cancelUnlock(address provider, bytes32 podId) external nonReentrant {
        bytes32 id = channelId(msg.sender, provider, podId);
        Slot storage slot = _opened(id);
        uint40 unlockAt = slot.unlockAt;
        if (unlockAt == 0) revert NotUnlocking(id);
        // Makers of blocks shift the time by seconds, and delays are of an hour at least.
        // slither-disable-next-line timestamp
        if (block.timestamp >= unlockAt) revert UnlockExpired(id, unlockAt);
        slot.unlockAt = 0;
        emit UnlockCancelled(id);
    }

    /// @inheritdoc IPayment
    function withdraw(address provider, bytes32 podId) external nonReentrant returns (uint128) {
        bytes32 id = channelId(msg.sender, provider, podId);
        Slot storage slot = _opened(id);
        uint40 unlockAt = slot.unlockAt;
        if (unlockAt == 0) revert NotUnlocking(id);
        // As in `cancelUnlock`.
        // slither-disable-next-line timestamp
        if (block.timestamp < unlockAt) revert StillLocked(id, unlockAt);
        return _end(id, slot, msg.sender);
    }

    // --- Provider ---

    /// @inheritdoc IPayment
    function claim(
        bytes32 id,
        uint32 epoch,
        Terms calldata terms,
        uint256[2] calldata usage,
        Signature calldata signature
    ) external nonReentrant returns (uint128 paid) {
        Refusal refusal;
        (paid, refusal) = _claim(id, epoch, terms, usage, signature);
        if (refusal != Refusal.None) revert ClaimRefused(id, refusal);
    }

    /// @inheritdoc IPayment
    function claimMany(Terms[] calldata terms, Claim[] calldata claims, Signature[] calldata signatures)
        external
        nonReentrant
    {
        _boundItems(terms.length);
        _boundItems(claims.length);
        if (signatures.length != 0 && signatures.length != claims.length) {
            revert SignatureCount(claims.length, signatures.length);
        }
        bytes32[] memory hashes = new bytes32[](terms.length);
        for (uint256 i = 0; i < terms.length; ++i) {
            hashes[i] = termsHash(msg.sender, terms[i]);
        }
        uint128[] memory due = new uint128[](claims.length);
        // Both are zero at first, and meant to be.
        // slither-disable-next-line uninitialized-local
        Signature memory signature;
        // slither-disable-next-line uninitialized-local
        Run memory run;
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata item = claims[i];
            if (item.terms >= terms.length) {
                emit ClaimSkipped(item.id, Refusal.WrongTerms);
                continue;
            }
            Terms calldata its = terms[item.terms];
            if (signatures.length != 0) signature = signatures[i];
            Refusal refusal;
            (due[i], refusal) = _book(item.id, item.epoch, its, hashes[item.terms], item.usage, signature);
            if (refusal != Refusal.None) {
                emit ClaimSkipped(item.id, refusal);
                continue;
            }
            if (its.token != run.token || its.payout != run.payout) {
                _payRun(run, claims, due, i);
                run = Run(its.token, its.payout, i, 0);
            }
            run.sum += due[i];
        }
        _payRun(run, claims, due, claims.length);
    }

    /// @inheritdoc IPayment
    function redeem(address publisher, bytes32 podId, Terms calldata terms, uint128 total, bytes calldata signature)
        external
        nonReentrant
        returns (uint128 paid)
    {
        bytes32 id = channelId(publisher, msg.sender, podId);
        Slot storage slot = _opened(id);
        if (slot.termsHash != termsHash(msg.sender, terms)) revert ClaimRefused(id, Refusal.WrongTerms);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(VOUCHER, id, uint32(slot.epoch), total)));
        if (!SignatureChecker.isValidSignatureNowCalldata(publisher, digest, signature)) {
            revert ClaimRefused(id, Refusal.BadSignature);
        }
        paid = _raiseClaimed(slot, total);
        if (paid == 0) revert ClaimRefused(id, Refusal.NothingDue);
        emit Redeemed(id, paid);
        terms.token.safeTransfer(terms.payout, paid);
    }

    /// @inheritdoc IPayment
    function close(address publisher, bytes32 podId) external nonReentrant returns (uint128) {
        bytes32 id = channelId(publisher, msg.sender, podId);
        return _end(id, _opened(id), publisher);
    }

    /// @inheritdoc IPayment
    function settleAndClose(
        address publisher,
        bytes32 podId,
        uint32 epoch,
        Terms calldata terms,
        uint256[2] calldata usage,
        Signature calldata signature
    ) external nonReentrant returns (uint128 paid, uint128 refunded) {
        bytes32 id = channelId(publisher, msg.sender, podId);
        Refusal refusal;
        (paid, refusal) = _claim(id, epoch, terms, usage, signature);
        if (refusal != Refusal.None && refusal != Refusal.NothingDue) revert ClaimRefused(id, refusal);
        refunded = _end(id, _opened(id), publisher);
    }

    // --- Views ---

    /// @inheritdoc IPayment
    function channel(bytes32 id) public view returns (Channel memory) {
        Slot memory slot = _channels[id];
        return Channel({
            token: _tokens[slot.token],
            deposited: slot.deposited,
            claimed: slot.claimed,
            maxRate: slot.maxRate,
            openedAt: slot.openedAt,
            unlockAt: slot.unlockAt,
            unlockDelay: slot.unlockDelay,
            epoch: slot.epoch,
            termsHash: slot.termsHash
        });
    }

    /// @inheritdoc IPayment
    function channels(bytes32[] calldata ids) external view returns (Channel[] memory found) {
        _boundItems(ids.length);
        found = new Channel[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            found[i] = channel(ids[i]);
        }
    }

    /// @inheritdoc IPayment
    function owed(uint256[4] calldata prices, uint256[2] calldata usage) public pure returns (uint256) {
        return _owed(prices, usage);
    }

    /// @inheritdoc IPayment
    function cap(bytes32 id) external view returns (uint256) {
        return _cap(_channels[id]);
    }

    /// @inheritdoc IPayment
    function runway(bytes32 id) external view returns (uint256) {
        Slot memory slot = _channels[id];
        if (slot.openedAt == 0) return 0;
        if (slot.maxRate == 0) return type(uint256).max;
        uint256 end = slot.openedAt + uint256(slot.deposited) * RATE_SCALE / slot.maxRate;
        // Only told, never paid by.
        // slither-disable-next-line timestamp
        return end > block.timestamp ? end - block.timestamp : 0;
    }

    /// @inheritdoc IPayment
    function tokenOf(uint32 code) external view returns (IERC20 token) {
        token = _tokens[code];
        if (address(token) == address(0)) revert UnknownToken(code);
    }

    /// @inheritdoc IPayment
    function codeOf(IERC20 token) external view returns (uint32) {
        return _codes[token];
    }

    /// @inheritdoc IPayment
    function channelId(address publisher, address provider, bytes32 podId) public pure returns (bytes32) {
        return keccak256(abi.encode(publisher, provider, podId));
    }

    /// @inheritdoc IPayment
    function termsHash(address provider, Terms calldata terms) public pure returns (bytes32 hash) {
        // keccak256(abi.encode(provider, terms)), without taking the terms apart: they are seven words as they stand.
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            let encoded := mload(0x40)
            mstore(encoded, provider)
            calldatacopy(add(encoded, 32), terms, 224)
            hash := keccak256(encoded, 256)
        }
    }

    // --- Steps ---

    function _boundItems(uint256 length) private pure {
        if (length > MAX_ITEMS) revert TooManyItems(length, MAX_ITEMS);
    }

    function _open(Opening calldata opening) private returns (bytes32 id) {
        _check(opening);
        id = channelId(msg.sender, opening.provider, opening.podId);
        Slot storage slot = _channels[id];
        if (slot.openedAt != 0) revert AlreadyOpen(id);
        uint24 epoch = slot.epoch + 1;
        _channels[id] = Slot({
            deposited: opening.amount,
            claimed: 0,
            maxRate: opening.maxRate,
            openedAt: uint40(block.timestamp),
            unlockAt: 0,
            unlockDelay: uint24(opening.unlockDelay),
            epoch: epoch,
            token: _codeFor(opening.terms.token),
            termsHash: termsHash(opening.provider, opening.terms)
        });
        emit Opened(
            id,
            msg.sender,
            opening.provider,
            opening.podId,
            epoch,
            opening.amount,
            opening.maxRate,
            opening.unlockDelay,
            opening.terms
        );
    }

    function _check(Opening calldata opening) private view {
        if (opening.provider == address(0) || opening.terms.payout == address(0)) revert ZeroAddress();
        if (opening.provider == msg.sender) revert SelfDealing();
        if (opening.amount == 0) revert ZeroAmount();
        uint32 delay = opening.unlockDelay;
        if (delay < minUnlockDelay || delay > maxUnlockDelay) {
            revert UnlockDelayOutOfBounds(delay, minUnlockDelay, maxUnlockDelay);
        }
    }

    function _codeFor(IERC20 token) private returns (uint32 code) {
        code = _codes[token];
        if (code != 0) return code;
        if (address(token).code.length == 0) revert NotAToken(token);
        code = ++_lastCode;
        _codes[token] = code;
        _tokens[code] = token;
        emit TokenAdded(code, token);
    }

    function _opened(bytes32 id) private view returns (Slot storage slot) {
        slot = _channels[id];
        if (slot.openedAt == 0) revert NotOpen(id);
    }

    /// Takes `amount` from the caller, all of it or nothing.
    function _receive(IERC20 token, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        _expectReceived(token, before, amount);
    }

    function _expectReceived(IERC20 token, uint256 before, uint256 amount) private view {
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert WrongAmountReceived(token, amount, received);
    }

    function _claim(
        bytes32 id,
        uint32 epoch,
        Terms calldata terms,
        uint256[2] calldata usage,
        Signature calldata signature
    ) private returns (uint128 paid, Refusal refusal) {
        (paid, refusal) = _book(id, epoch, terms, termsHash(msg.sender, terms), usage, signature);
        if (refusal != Refusal.None) return (0, refusal);
        emit Claimed(id, usage, paid);
        terms.token.safeTransfer(terms.payout, paid);
    }

    /// Books what is due for `usage` as claimed; the caller pays it out.
    function _book(
        bytes32 id,
        uint32 epoch,
        Terms calldata terms,
        bytes32 hash,
        uint256[2] calldata usage,
        Signature memory signature
    ) private returns (uint128 due, Refusal) {
        Slot storage slot = _channels[id];
        // A channel that is not open has no hash.
        if (slot.termsHash != hash) return (0, slot.openedAt == 0 ? Refusal.NotOpen : Refusal.WrongTerms);
        if (slot.epoch != epoch) return (0, Refusal.WrongEpoch);
        address key = terms.meterKey;
        if (key != address(0) && !_signed(key, id, epoch, usage, signature)) {
            return (0, Refusal.BadSignature);
        }
        due = _raiseClaimed(slot, _min(_owed(terms.prices, usage), _cap(slot)));
        return (due, due == 0 ? Refusal.NothingDue : Refusal.None);
    }

    function _signed(address key, bytes32 id, uint32 epoch, uint256[2] calldata usage, Signature memory signature)
        private
        view
        returns (bool)
    {
        bytes32 statement = keccak256(abi.encode(USAGE_STATEMENT, id, epoch, keccak256(abi.encode(usage))));
        // The third value only details the error.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError err,) =
            ECDSA.tryRecover(_hashTypedDataV4(statement), signature.r, signature.vs);
        return err == ECDSA.RecoverError.NoError && signer == key;
    }

    function _owed(uint256[4] calldata prices, uint256[2] calldata usage) private pure returns (uint256 total) {
        (uint256 first, uint256 second) = (usage[0], usage[1]);
        // Each product is below 2^192 and there are eight: nothing can overflow. A loop would cost twice as much.
        unchecked {
            total = uint128(prices[0]) * uint256(uint64(first));
            total += (prices[0] >> 128) * uint64(first >> 64);
            total += uint128(prices[1]) * uint256(uint64(first >> 128));
            total += (prices[1] >> 128) * (first >> 192);
            total += uint128(prices[2]) * uint256(uint64(second));
            total += (prices[2] >> 128) * uint64(second >> 64);
            total += uint128(prices[3]) * uint256(uint64(second >> 128));
            total += (prices[3] >> 128) * (second >> 192);
            total /= PRICE_SCALE;
        }
    }

    function _cap(Slot storage slot) private view returns (uint256) {
        (uint256 openedAt, uint256 unlockAt) = (slot.openedAt, slot.unlockAt);
        if (openedAt == 0) return 0;
        uint256 end = unlockAt == 0 ? block.timestamp : _min(block.timestamp, unlockAt);
        // The channel was opened before now, and before its unlock ends; the product is below 2^96 * 2^40.
        unchecked {
            return slot.maxRate * (end - openedAt) / RATE_SCALE;
        }
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    /// Sets claimed to `total` or the deposit, whichever is less, if that is more than it was.
    function _raiseClaimed(Slot storage slot, uint256 total) private returns (uint128 paid) {
        (uint128 deposited, uint128 claimed) = (slot.deposited, slot.claimed);
        // Not above the deposit, which has 128 bits.
        uint128 raised = total < deposited ? uint128(total) : deposited;
        if (raised <= claimed) return 0;
        slot.claimed = raised;
        unchecked {
            return raised - claimed;
        }
    }

    /// Pays a run that ends before `end`, or takes its claims back where the token refuses.
    function _payRun(Run memory run, Claim[] calldata claims, uint128[] memory due, uint256 end) private {
        if (run.sum == 0) return;
        bool paid = run.token.trySafeTransfer(run.payout, run.sum);
        for (uint256 i = run.first; i < end; ++i) {
            if (due[i] == 0) continue;
            Claim calldata item = claims[i];
            if (paid) {
                emit Claimed(item.id, item.usage, due[i]);
            } else {
                // The guard kept the channel as it was left; the items of a channel named twice add up.
                _channels[item.id].claimed -= due[i];
                emit ClaimSkipped(item.id, Refusal.TransferFailed);
            }
        }
    }

    /// Ends the epoch and refunds the publisher; only the epoch's number stays.
    function _end(bytes32 id, Slot storage slot, address publisher) private returns (uint128 refunded) {
        (uint128 claimed, uint24 epoch, IERC20 token) = (slot.claimed, slot.epoch, _tokens[slot.token]);
        refunded = slot.deposited - claimed;
        delete _channels[id];
        _channels[id].epoch = epoch;
        emit Closed(id, epoch, claimed, refunded);
        if (refunded != 0) token.safeTransfer(publisher, refunded);
    }
}
