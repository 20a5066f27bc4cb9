// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Actors} from "./Actors.sol";
import {Base} from "./Base.sol";

/// What holds whatever `Actors` do.
contract InvariantsTest is Base {
    /// Calls that make the share of those refused more than chance.
    uint256 internal constant ENOUGH = 2000;

    Actors internal actors;

    function setUp() public override {
        actors = new Actors();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function excludeSelectors() external view returns (FuzzSelector[] memory excluded) {
        excluded = new FuzzSelector[](1);
        excluded[0] = FuzzSelector(address(actors), new bytes4[](2));
        excluded[0].selectors[0] = Base.setUp.selector;
        excluded[0].selectors[1] = Actors.finish.selector;
    }

    /// Sum of liabilities = balance, per token; nobody got more than its due; nothing fell that may only grow; no call
    /// back went through. One campaign for all of them: each costs as much.
    function invariant_money_is_where_it_belongs() external view {
        actors.check();
    }

    /// From every state, both sides get everything out. And most of what was tried was worth trying.
    function afterInvariant() external {
        uint256 calls = total("INVARIANT_CALLS", actors.calls());
        uint256 refused = total("INVARIANT_REFUSED", actors.reverted());
        log("calls that the contract refused, in a hundred:", 100 * refused / (calls + 1));
        ok(2 * refused < calls || calls < ENOUGH, "half of the calls were refused");
        actors.finish();
        actors.check();
    }

    /// Adds to what the earlier runs counted. Between runs forge takes everything back but its own environment.
    function total(string memory name, uint256 added) internal returns (uint256 sum) {
        sum = vm.envOr(name, uint256(0)) + added;
        vm.setEnv(name, vm.toString(sum));
    }

    /// To forge's console.
    function log(string memory text, uint256 number) internal view {
        (bool done,) = address(0x000000000000000000636F6e736F6c652e6c6f67)
            .staticcall(abi.encodeWithSignature("log(string,uint256)", text, number));
        ok(done, "there is no console");
    }
}
