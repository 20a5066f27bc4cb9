// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Actors} from "./Actors.sol";
import {Base} from "./Base.sol";

/// What holds whatever `Actors` do.
contract InvariantsTest is Base {
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
        uint256 share = 100 * actors.reverted() / (actors.calls() + 1);
        log("calls of the last run that the contract refused, of a hundred:", share);
        ok(share < 50 || actors.calls() < 100, "half of the calls were refused");
        actors.finish();
        actors.check();
    }

    /// To forge's console.
    function log(string memory text, uint256 number) internal view {
        (bool done,) = address(0x000000000000000000636F6e736F6c652e6c6f67)
            .staticcall(abi.encodeWithSignature("log(string,uint256)", text, number));
        ok(done, "there is no console");
    }
}
