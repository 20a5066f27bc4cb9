//! Whose a host name is.

use crate::{
    publisher::Publisher,
    world::{ACCOUNT, Place},
};
use apocryph_model::{Address, ChannelId, Endpoint, Fault, HostProof, Hostname, PodSpec, Port, Who};

fn shop() -> Hostname {
    "shop.example".parse().unwrap()
}

fn at_shop(publisher: &Publisher) -> PodSpec {
    at(publisher, &[shop()])
}

fn at(publisher: &Publisher, hosts: &[Hostname]) -> PodSpec {
    let mut spec = publisher.spec("serve");
    let port =
        |(host, container_port): (&Hostname, u16)| Port::Http { container_port, host: Some(host.clone()) };
    spec.containers[0].ports = hosts.iter().zip(80..).map(port).collect();
    spec
}

/// What the DNS says of the shop's name.
fn says(place: &Place, publishers: &[&Publisher]) {
    let proof = |publisher: &&Publisher| HostProof { publisher: publisher.account, provider: ACCOUNT };
    let proofs = publishers.iter().map(proof).collect();
    place.double.state().host_proofs.insert(shop(), Some(proofs));
}

fn says_nothing(place: &Place) {
    place.double.state().host_proofs.insert(shop(), None);
}

async fn wants_shop(place: &Place, publisher: &Publisher) -> Result<Vec<Endpoint>, Fault> {
    publisher.open(place);
    publisher.provision(place, publisher.request(place, &at_shop(publisher))).await
}

async fn refusal(place: &Place, publisher: &Publisher) -> String {
    wants_shop(place, publisher).await.unwrap_err().code
}

fn questions(place: &Place) -> u32 {
    place.double.state().questions
}

/// Where a pod is routed to.
fn hosts(place: &Place, pod: ChannelId) -> Vec<String> {
    let host = |endpoint: &Endpoint| match endpoint {
        Endpoint::Http { host, .. } => Some(host.to_string()),
        Endpoint::Tcp { .. } => None,
    };
    place.double.state().routed[&pod].iter().filter_map(host).collect()
}

#[tokio::test]
async fn a_host_name_is_served_once_the_dns_names_the_publisher_and_this_provider() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    let fault = wants_shop(&place, &alice).await.unwrap_err();
    assert_eq!((fault.who, fault.code.as_str(), fault.retry), (Who::Publisher, "host-not-proved", true));
    let record = HostProof { publisher: alice.account, provider: ACCOUNT };
    assert!(
        fault.text.contains("_apocryph.shop.example") && fault.text.contains(&record.to_string()),
        "{fault}"
    );
    assert!(place.double.state().owned.is_empty(), "no image is fetched, and the specification is let go");
    place.assert_nothing_left();

    let elsewhere = HostProof { provider: Address([1; 20]), ..record };
    let another = HostProof { publisher: Address([2; 20]), ..record };
    place.double.state().host_proofs.insert(shop(), Some(vec![elsewhere, another]));
    assert_eq!(refusal(&place, &alice).await, "host-not-proved");
    says_nothing(&place);
    let fault = wants_shop(&place, &alice).await.unwrap_err();
    assert_eq!((fault.who, fault.code.as_str(), fault.retry), (Who::Network, "dns-unavailable", true));
    assert!(fault.text.contains(&record.to_string()), "{fault}");

    place.double.state().host_proofs.insert(shop(), Some(vec![elsewhere, another, record]));
    wants_shop(&place, &alice).await.unwrap();
    assert_eq!(hosts(&place, alice.channel()), ["shop.example"]);
}

#[tokio::test]
async fn nobody_is_asked_about_without_a_channel_and_a_refusal_costs_one_question() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    let many: Vec<Hostname> = (0..32).map(|n| format!("h{n}.victim.example").parse().unwrap()).collect();
    let request = alice.request(&place, &at(&alice, &many));
    assert_eq!(alice.provision(&place, request.clone()).await.unwrap_err().code, "channel-not-open");
    assert_eq!(questions(&place), 0);
    alice.open(&place);
    assert_eq!(alice.provision(&place, request).await.unwrap_err().code, "host-not-proved");
    assert_eq!(questions(&place), 1);
}

#[tokio::test]
async fn a_pod_that_brings_no_host_name_needs_no_dns() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.open(&place);
    let mut spec = alice.spec("serve");
    spec.containers[0].ports = vec![Port::Http { container_port: 80, host: None }];
    alice.provision(&place, alice.request(&place, &spec)).await.unwrap();
    assert_eq!(questions(&place), 0);
}

#[tokio::test]
async fn a_host_name_passes_to_who_proves_it_once_its_holders_proof_is_surely_gone() {
    let place = Place::new();
    let (alice, bob) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    says(&place, &[&alice]);
    wants_shop(&place, &alice).await.unwrap();
    assert_eq!(refusal(&place, &bob).await, "host-not-proved");
    says(&place, &[&alice, &bob]);
    let taken = wants_shop(&place, &bob).await.unwrap_err();
    assert_eq!((taken.code.as_str(), taken.retry), ("host-taken", false));
    says_nothing(&place);
    assert_eq!(refusal(&place, &bob).await, "dns-unavailable");
    assert_eq!(hosts(&place, alice.channel()), ["shop.example"]);

    says(&place, &[&bob]);
    wants_shop(&place, &bob).await.unwrap();
    assert_eq!(hosts(&place, bob.channel()), ["shop.example"]);
    let given = format!("{}.pods.example", alice.channel().short());
    assert_eq!(hosts(&place, alice.channel()), [given.as_str()]);
    let status = alice.status(&place).await;
    assert_eq!(status.last_error.unwrap().code, "host-lost");
    assert_eq!(status.endpoints, place.double.state().routed[&alice.channel()]);

    // After a restart too, in whatever order they are restored; the DNS is not asked.
    let asked = questions(&place);
    let place = place.restart();
    place.provider.reconcile().await.unwrap();
    assert_eq!(hosts(&place, bob.channel()), ["shop.example"]);
    assert_eq!(hosts(&place, alice.channel()), [given.as_str()]);
    assert_eq!(questions(&place), asked);
    assert_eq!(refusal(&place, &alice).await, "host-not-proved");
    assert_eq!(hosts(&place, alice.channel()), [given.as_str()], "an update that fails brings nothing back");
}

#[tokio::test]
async fn a_holder_that_is_not_restored_yet_is_a_holder() {
    let place = Place::new();
    let (alice, bob) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    says(&place, &[&alice, &bob]);
    wants_shop(&place, &alice).await.unwrap();
    let place = place.restart();
    assert_eq!(refusal(&place, &bob).await, "host-taken");
    says(&place, &[&bob]);
    wants_shop(&place, &bob).await.unwrap();
    place.provider.reconcile().await.unwrap();
    assert_eq!(hosts(&place, bob.channel()), ["shop.example"]);
    assert_ne!(hosts(&place, alice.channel()), ["shop.example"]);
}

#[tokio::test]
async fn a_dns_that_is_away_takes_nothing_from_anybody() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    says(&place, &[&alice]);
    wants_shop(&place, &alice).await.unwrap();
    says_nothing(&place);
    wants_shop(&place, &alice).await.unwrap();
    assert_eq!(hosts(&place, alice.channel()), ["shop.example"]);
    // A record that is gone refuses the next update; what is there is served on.
    says(&place, &[]);
    assert_eq!(refusal(&place, &alice).await, "host-not-proved");
    assert_eq!(hosts(&place, alice.channel()), ["shop.example"]);
}

#[tokio::test]
async fn two_pods_of_a_publisher_do_not_share_a_host_name() {
    let place = Place::new();
    let (first, second) = (Publisher::new(1, "web"), Publisher::new(1, "next"));
    says(&place, &[&first]);
    wants_shop(&place, &first).await.unwrap();
    assert_eq!(refusal(&place, &second).await, "host-taken");
    first.remove(&place).await.unwrap();
    wants_shop(&place, &second).await.unwrap();
    assert_eq!(hosts(&place, second.channel()), ["shop.example"]);
}

#[tokio::test]
async fn in_a_closed_network_whoever_comes_first_has_it() {
    let place = Place::new();
    place.double.state().first_come = true;
    let place = place.restart();
    let (alice, bob) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    wants_shop(&place, &alice).await.unwrap();
    assert_eq!(refusal(&place, &bob).await, "host-taken");
    wants_shop(&place, &alice).await.unwrap();
    // Also where the pod that has it is not back yet.
    let place = place.restart();
    assert_eq!(refusal(&place, &bob).await, "host-taken");
    assert_eq!(questions(&place), 0);
}
