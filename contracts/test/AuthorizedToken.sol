// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {TestToken} from "./TestToken.sol";

/// @title A token of test chains that takes authorizations (ERC-3009) as well as permits
contract AuthorizedToken is TestToken, ERC3009 {}
