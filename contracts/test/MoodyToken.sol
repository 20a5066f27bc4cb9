// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TestToken} from "./TestToken.sol";

/// A token that changes its ways, as one with an owner can. It also has an account of its own in channels, from which
/// it calls back while it moves.
contract MoodyToken is TestToken {
    enum Mood {
        Honest,
        TakesFee,
        AnswersFalse,
        Reverts,
        CallsBack
    }

    Mood public mood;
    mapping(address account => bool) public blocked;
    address internal target;
    bytes[] internal calls;
    bool internal calling;
    /// Whether ever a call back went through.
    bool public calledBack;

    error Moody();

    function set(Mood newMood) external {
        mood = newMood;
    }

    function setBlocked(address account, bool isBlocked) external {
        blocked[account] = isBlocked;
    }

    function arm(address at, bytes[] calldata what) external {
        target = at;
        for (uint256 i = 0; i < what.length; ++i) {
            calls.push(what[i]);
        }
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return mood != Mood.AnswersFalse && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return mood != Mood.AnswersFalse && super.transferFrom(from, to, value);
    }

    function _update(address from, address to, uint256 value) internal override {
        bool moves = from != address(0) && to != address(0);
        if (moves && (mood == Mood.Reverts || blocked[to] || blocked[from])) revert Moody();
        if (moves && mood == Mood.CallsBack && !calling) callBack();
        super._update(from, to, value);
        if (moves && mood == Mood.TakesFee && value != 0) super._update(to, address(0), 1);
    }

    function callBack() internal {
        calling = true;
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done,) = target.call(calls[i]);
            calledBack = calledBack || done;
        }
        calling = false;
    }
}
