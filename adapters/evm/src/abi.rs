//! Bindings to the contracts, made from the ABI and bytecode in `abi/`.

#![expect(clippy::too_many_arguments, reason = "events have as many fields as they have")]

use alloy::sol;

sol!(
    #[derive(Debug)]
    Payment,
    "abi/Payment.json"
);

sol!(
    #[derive(Debug)]
    Registry,
    "abi/Registry.json"
);

sol!(
    #[derive(Debug)]
    TestToken,
    "abi/TestToken.json"
);
