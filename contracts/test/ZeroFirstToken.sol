// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token of test chains that changes an allowance only from or to zero, and knows no permits
contract ZeroFirstToken is ERC20 {
    error AllowanceLeft();

    constructor() ERC20("Apocryph Zero First Token", "ZERO") {}

    /// @notice Makes `amount` for `to`.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @inheritdoc ERC20
    function approve(address spender, uint256 value) public override returns (bool) {
        if (value != 0 && allowance(msg.sender, spender) != 0) revert AllowanceLeft();
        return super.approve(spender, value);
    }
}
