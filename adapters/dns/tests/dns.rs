//! The seams' contract, against a DNS server that says what it is told to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use apocryph_dns::Dns;
use apocryph_model::{Address, DnsError, HostProof, Hostname};
use apocryph_provider::HostProofs;
use apocryph_testbed::dns::{DnsServer, Says};
use std::net::{SocketAddr, UdpSocket};

const PROOF: HostProof = HostProof { publisher: Address([0xab; 20]), provider: Address([0xcd; 20]) };
const RECORD: &str = "_apocryph.shop.example";

async fn ask(server: SocketAddr, host: &str) -> Result<Vec<HostProof>, DnsError> {
    let host: Hostname = host.parse().unwrap();
    HostProofs::of(&Dns::new(Some(server)), &host).await
}

async fn when(says: Says) -> Result<Vec<HostProof>, DnsError> {
    let server = DnsServer::start().await.unwrap();
    server.set(RECORD, says);
    ask(server.address(), "Shop.Example").await
}

fn texts(texts: &[String]) -> Says {
    Says::Texts(texts.to_vec())
}

#[tokio::test]
async fn proofs_are_found_among_other_records() {
    let other = HostProof { publisher: Address([1; 20]), ..PROOF };
    let said = [PROOF.to_string(), "v=spf1 -all".into(), String::new(), other.to_string()];
    assert_eq!(when(texts(&said)).await, Ok(vec![PROOF, other]));
    assert_eq!(when(texts(&["v=spf1 -all".into()])).await, Ok(vec![]));
    // In two strings of one record.
    let long =
        format!("{};{}", PROOF.to_string().replace("; ", &format!("{};", " ".repeat(200))), " ".repeat(9));
    assert!(long.len() > 255);
    assert_eq!(when(texts(&[long])).await, Ok(vec![PROOF]));
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_a_datagram_comes_whole() {
    let mut said: Vec<_> = (0..200_u8).map(|n| HostProof { publisher: Address([n; 20]), ..PROOF }).collect();
    said.push(PROOF);
    let found = when(texts(&said.iter().map(HostProof::to_string).collect::<Vec<_>>())).await.unwrap();
    assert_eq!(found.len(), 201);
    assert!(found.contains(&PROOF));
}

#[tokio::test]
async fn no_such_name_and_no_such_record_are_answers() {
    let server = DnsServer::start().await.unwrap();
    assert_eq!(ask(server.address(), "shop.example").await, Ok(vec![]));
    assert_eq!(server.take_asked(), [RECORD.to_owned()].into());
    assert_eq!(when(Says::NoneOfTheKind).await, Ok(vec![]));
    assert_eq!(when(Says::Alias("gone.example".into())).await, Ok(vec![]));
}

#[tokio::test]
async fn whatever_else_happens_is_unknown() {
    for says in [Says::Failed, Says::Refused, Says::AskElsewhere] {
        let answer = when(says.clone()).await;
        assert!(matches!(answer, Err(DnsError::Failed(_))), "{says:?}: {answer:?}");
    }
    assert_eq!(when(Says::Silent).await, Err(DnsError::Silent));
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(ask(nobody, "shop.example").await, Err(DnsError::Silent));
}

#[tokio::test]
async fn a_record_may_be_kept_in_another_zone() {
    let server = DnsServer::start().await.unwrap();
    server.set(RECORD, Says::Alias("proofs.elsewhere.example".into()));
    server.set("proofs.elsewhere.example", texts(&[PROOF.to_string()]));
    assert_eq!(ask(server.address(), "shop.example").await, Ok(vec![PROOF]));
    server.set("proofs.elsewhere.example", Says::Failed);
    let unknown = ask(server.address(), "shop.example").await;
    assert!(matches!(unknown, Err(DnsError::Failed(_))), "{unknown:?}");
}

#[tokio::test]
async fn nothing_is_remembered_and_names_above_and_below_say_nothing() {
    let server = DnsServer::start().await.unwrap();
    for name in
        ["shop.example", "_apocryph.example", "_apocryph.a.shop.example", "_apocryph.shop.example.example"]
    {
        server.set(name, texts(&[PROOF.to_string()]));
    }
    assert_eq!(ask(server.address(), "shop.example").await, Ok(vec![]));
    server.set(RECORD, texts(&[PROOF.to_string()]));
    let host: Hostname = "shop.example".parse().unwrap();
    let dns = Dns::new(Some(server.address()));
    assert_eq!(HostProofs::of(&dns, &host).await, Ok(vec![PROOF]));
    server.clear(RECORD);
    assert_eq!(HostProofs::of(&dns, &host).await, Ok(vec![]));
}

#[tokio::test]
async fn whether_a_server_answers_can_be_checked() {
    let server = DnsServer::start().await.unwrap();
    assert_eq!(Dns::new(Some(server.address())).check().await, Ok(()));
    server.set("", Says::Failed);
    assert!(Dns::new(Some(server.address())).check().await.is_err());
}
