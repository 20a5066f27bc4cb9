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

/// Whether a name has the form of [`own_name`], so that nobody else may ask for it.
pub(crate) fn is_own_name(name: &Hostname, domain: &Hostname) -> bool {
    let label = name.as_str().strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
    let mut parts = label.unwrap_or_default().rsplitn(3, '-');
    let hex = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let port = |part: &str| part.parse::<u16>().is_ok();
    parts.next().is_some_and(hex) && parts.next().is_some_and(port) && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_own_name_is_recognised_and_fits() {
        let domain: Hostname = "pods.example".parse().unwrap();
        let long = "x".repeat(46) + "-" + &"y".repeat(16);
        for pod in ["web", "a-b", &long] {
            let name = own_name(&pod.parse().unwrap(), 65_535, ChannelId([0xab; 32]), &domain).unwrap();
            assert!(is_own_name(&name, &domain), "{name}");
        }
        for free in ["shop.example", "web.pods.example", "web-80.pods.example", "pods.example"] {
            assert!(!is_own_name(&free.parse().unwrap(), &domain), "{free}");
        }
    }
}
