//! The host names of pods that bring none, and which names a pod may bring.

use apocryph_model::{ChannelId, Hostname, Name, ParseNameError};

/// The name that belongs to this pod and no other: `<pod>-<port>-<channel>.<domain>`.
pub(crate) fn own_name(
    pod: &Name,
    port: u16,
    channel: ChannelId,
    domain: &Hostname,
) -> Result<Hostname, ParseNameError> {
    // A label has 63 characters, of which port and channel take up to 15.
    let pod = pod.as_str().get(..47).unwrap_or(pod.as_str()).trim_end_matches('-');
    format!("{pod}-{port}-{}.{domain}", channel.short()).parse()
}

/// Whether a name is the provider's to give: its own domain, or under it.
pub(crate) fn is_reserved(name: &Hostname, domain: &Hostname) -> bool {
    let rest = name.as_str().strip_suffix(domain.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_own_name_is_the_providers_to_give_and_fits() {
        let domain: Hostname = "pods.example".parse().unwrap();
        let long = "x".repeat(46) + "-" + &"y".repeat(16);
        for pod in ["web", "a-b", &long] {
            let name = own_name(&pod.parse().unwrap(), 65_535, ChannelId([0xab; 32]), &domain).unwrap();
            assert!(is_reserved(&name, &domain), "{name}");
        }
        for reserved in ["pods.example", "web.pods.example", "a.b.pods.example", "WWW.Pods.Example"] {
            assert!(is_reserved(&reserved.parse().unwrap(), &domain), "{reserved}");
        }
        for free in ["shop.example", "mypods.example", "pods.example.org", "ods.example"] {
            assert!(!is_reserved(&free.parse().unwrap(), &domain), "{free}");
        }
    }
}
