//! Bindings to the contracts, made from the ABI and bytecode in `abi/`.

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
