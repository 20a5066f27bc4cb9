//! The configuration that `init` writes.

use crate::args::Init;
use apocryph_model::Address;
use url::Url;

const TEMPLATE: &str = include_str!("template.toml");

/// Every setting with its default, explained; what is known of the chain filled in.
pub(crate) fn template(known: &Init, rpc: &[Url]) -> String {
    let address = |address: Option<Address>| address.unwrap_or(Address::ZERO).to_string();
    let rpc: Vec<_> = rpc.iter().map(|url| format!("\"{url}\"")).collect();
    TEMPLATE
        .replace("{rpc}", &rpc.join(", "))
        .replace("{id}", &known.chain_id.unwrap_or(1).to_string())
        .replace("{payment}", &address(known.payment))
        .replace("{registry}", &address(known.registry))
        .replace("{token}", &address(known.token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::File;

    fn written() -> String {
        let known = Init { chain_id: Some(31337), payment: None, registry: None, token: None };
        template(&known, &["http://127.0.0.1:8545".parse().unwrap()])
    }

    #[test]
    fn the_template_says_what_the_defaults_are() {
        let written: File = toml::from_str(&written()).unwrap();
        let defaults = "[chain]\nid = 31337\nrpc = [\"http://127.0.0.1:8545/\"]\n";
        let zero = format!("\"{}\"\n", Address::ZERO);
        let contracts = ["payment", "registry", "token"].map(|name| format!("{name} = {zero}")).concat();
        let mut defaults: File = toml::from_str(&(defaults.to_owned() + &contracts)).unwrap();
        // These have defaults that `Settings` fills in.
        defaults.prices = written.prices.clone();
        defaults.gateway.domain = written.gateway.domain.clone();
        defaults.engine.name = written.engine.name.clone();
        defaults.engine.subnet = written.engine.subnet.clone();
        defaults.claims.coin_worth = written.claims.coin_worth.clone();
        assert_eq!(format!("{written:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn what_is_commented_out_can_be_put_in() {
        let setting =
            |line: &str| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).map(str::to_owned);
        let all: Vec<_> =
            written().lines().map(|line| setting(line).unwrap_or_else(|| line.into())).collect();
        toml::from_str::<File>(&all.join("\n")).unwrap();
    }
}
