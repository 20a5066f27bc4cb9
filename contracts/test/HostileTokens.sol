// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TestToken} from "./TestToken.sol";

/// Keeps one in a hundred of what is moved.
contract FeeToken is TestToken {
    function _update(address from, address to, uint256 value) internal virtual override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : value / 100;
        super._update(from, to, value - fee);
        if (fee != 0) super._update(from, address(0), fee);
    }
}

/// Takes a fee on transfer from when its owner feels like it.
contract TurningToken is TestToken {
    uint256 public fee;

    function setFee(uint256 newFee) external {
        fee = newFee;
    }

    function _update(address from, address to, uint256 value) internal override {
        uint256 kept = from == address(0) || to == address(0) || value < fee ? 0 : fee;
        super._update(from, to, value - kept);
        if (kept != 0) super._update(from, address(0), kept);
    }
}

/// Refuses to move anything to the accounts on its list.
contract BlockingToken is TestToken {
    mapping(address => bool) public blocked;

    error Blocked(address account);

    function setBlocked(address account, bool isBlocked) external {
        blocked[account] = isBlocked;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, value);
    }
}

/// Answers `false` instead of moving anything, once told to.
contract FalseToken is TestToken {
    bool public lying;

    function setLying(bool isLying) external {
        lying = isLying;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return !lying && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !lying && super.transferFrom(from, to, value);
    }
}

/// Calls back while it moves, once armed, and remembers how that went.
contract ReenteringToken is TestToken {
    address public target;
    bytes public call;
    bool public succeeded;
    bytes public answer;

    function arm(address at, bytes calldata what) external {
        (target, call) = (at, what);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (target != address(0)) {
            address at = target;
            target = address(0);
            (succeeded, answer) = at.call(call);
        }
        super._update(from, to, value);
    }
}

/// Answers nothing at all, as some of the oldest tokens do.
contract SilentToken is TestToken {
    function transfer(address to, uint256 value) public override returns (bool) {
        super.transfer(to, value);
        assembly ("memory-safe") {
            return(0, 0)
        }
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        super.transferFrom(from, to, value);
        assembly ("memory-safe") {
            return(0, 0)
        }
    }
}

/// Changes what its holders have, as tokens do that follow the value of something else.
contract RebasingToken is TestToken {
    function rebase(address account, uint256 balance) external {
        uint256 before = balanceOf(account);
        if (balance > before) _mint(account, balance - before);
        else _burn(account, before - balance);
    }
}
