use super::*;
use crate::{
    provision::wire,
    unixfs::{BlockId, Codec},
};
use apocryph_model::{
    Attestation, Blob, Channel, ChannelId, Digest, Endpoint, Fault, Hash32, LogLine, LogQuery, Method, Offer,
    PeerAddress, PodId, PodPhase, PodStatus, Price, Progress, ProvisionRequest, Rate, Statement, Tariff,
    Terms, UsageRecord, Who, keccak256,
};
use proptest::prelude::*;
use prost::Message as _;

const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

fn terms() -> Terms {
    let tariff = Tariff(std::array::from_fn(|i| Price(u128::MAX - i as u128)));
    Terms { tariff, meter_key: Address([1; 20]), payout: Address([2; 20]) }
}

fn blob() -> Blob {
    let cid = BlockId::of(Codec::Raw, b"x").to_string();
    Blob { digest: Digest([3; 32]), size: 1 << 40, cid }
}

fn source() -> PeerAddress {
    format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}").parse().unwrap()
}

fn request() -> ProvisionRequest {
    ProvisionRequest {
        pod: PodId([4; 32]),
        terms: terms(),
        spec: blob(),
        spec_key: [5; 32],
        image_key: vec![6; 1200],
        blobs: vec![blob(); 3],
        public: true,
        sources: vec![source(); 2],
    }
}

fn endpoints() -> Vec<Endpoint> {
    let address = "192.0.2.1:443".parse().unwrap();
    let host = "shop.example".parse().unwrap();
    vec![
        Endpoint::Http { host, gateway: address, tls: true, container_port: 80 },
        Endpoint::Tcp { address: "[2001:db8::1]:6379".parse().unwrap(), container_port: 6379 },
    ]
}

#[test]
fn offers_cross_whole() {
    for attestation in Attestation::ALL {
        let offer = Offer {
            chain: 1,
            payment: Address([1; 20]),
            provider: Address([2; 20]),
            token: Address([3; 20]),
            terms: terms(),
            least_runway: 60,
            least_unlock_delay: 3600,
            attestation,
        };
        assert_eq!(Offer::try_from(wire::OfferReply::from(offer.clone())), Ok(offer));
    }
}

#[test]
fn calls_cross_whole_and_are_hashed_as_they_came() {
    let statement = Statement {
        method: Method::Provision,
        channel: ChannelId([1; 32]),
        provider: PEER.parse().unwrap(),
        payload: Hash32([2; 32]),
        nonce: u128::MAX,
        expires_at: 9,
    };
    let payload = request().encode();
    let call = wire::Call {
        statement: Some((&statement).into()),
        signature: vec![27; 65].into(),
        payload: payload.clone().into(),
    };
    let signed = Signed::<ProvisionRequest>::try_from(call).unwrap();
    assert_eq!((signed.statement, signed.digest), (statement, Hash32(keccak256(&[&payload]))));
    assert!(signed.payload == request());
}

#[test]
fn queries_cross_whole() {
    for container in [None, Some("web".parse().unwrap())] {
        let query = LogQuery { container, since_ms: Some(0), follow: true };
        assert_eq!(LogQuery::decode(&query.encode()), Ok(query));
    }
    assert_eq!(<u64 as Payload>::decode(&Payload::encode(&u64::MAX)), Ok(u64::MAX));
    assert_eq!(<() as Payload>::decode(&[0]), Err(Malformed("payload")));
}

#[test]
fn progress_and_endpoints_cross_whole() {
    let trouble = Progress::Source { source: source(), problem: "it is away".into() };
    let fetch = Progress::Fetch { done: 1, total: 2 };
    for stage in [Progress::Channel, fetch, trouble, Progress::Unpack, Progress::Route] {
        let event = wire::ProvisionEvent { event: Some(stage.clone().into()) };
        assert_eq!(Provisioning::try_from(event), Ok(Provisioning::Progress(stage)));
    }
    let wire: Vec<wire::Endpoint> = endpoints().iter().map(Into::into).collect();
    assert_eq!(collect(wire), Ok(endpoints()));
}

#[test]
fn statuses_cross_whole() {
    let channel = Channel {
        publisher: Address([1; 20]),
        provider: Address([2; 20]),
        pod: PodId([3; 32]),
        token: Address([4; 20]),
        deposited: Amount(u128::MAX),
        claimed: Amount(1),
        max_rate: Rate(7),
        opened_at: 5,
        unlock_at: Some(0),
        unlock_delay: 6,
        epoch: 2,
        terms: Hash32([8; 32]),
    };
    let full = PodStatus {
        phase: PodPhase::Evicted,
        replicas: 2,
        endpoints: endpoints(),
        usage: Usage([1, 2, 3, 4, 5, 6, 7, u64::MAX]),
        channel: Some(channel),
        spec: Some(Digest([9; 32])),
        last_error: Some(Fault::passing(Who::Chain, "x", "y")),
    };
    let bare = PodStatus { channel: None, spec: None, last_error: None, ..full.clone() };
    let ending = PodStatus { phase: PodPhase::Ending, ..full.clone() };
    for status in [full, bare, ending] {
        assert_eq!(PodStatus::try_from(wire::StatusReply::from(&status)), Ok(status));
    }
}

#[test]
fn logs_and_records_cross_whole() {
    let line = LogLine {
        time_ms: 1,
        replica: "r1".into(),
        container: "web".parse().unwrap(),
        stderr: true,
        text: "tell \u{1b}[31m".into(),
    };
    assert_eq!(LogLine::try_from(wire::LogLine::from(line.clone())), Ok(line));
    let record = UsageRecord {
        sequence: 1,
        epoch: 2,
        time_ms: 3,
        source: "volumes".into(),
        used: Usage([4; 8]),
        previous: Hash32([5; 32]),
        hash: Hash32([6; 32]),
    };
    assert_eq!(UsageRecord::try_from(wire::UsageRecord::from(record.clone())), Ok(record));
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let wire = |change: fn(&mut wire::ProvisionPayload)| {
        let mut payload = wire::ProvisionPayload::from(&request());
        change(&mut payload);
        ProvisionRequest::decode(&payload.encode_to_vec()).map(|_| ())
    };
    assert_eq!(wire(|_| ()), Ok(()));
    assert_eq!(wire(|p| p.pod = vec![0; 31].into()), Err(Malformed("pod")));
    assert_eq!(wire(|p| p.terms = None), Err(Malformed("terms")));
    assert_eq!(wire(|p| p.terms.as_mut().unwrap().prices.truncate(7)), Err(Malformed("terms.prices")));
    assert_eq!(wire(|p| p.image_key = vec![0; 20_000].into()), Err(Malformed("image_key")));
    assert_eq!(wire(|p| p.blobs[0].cid = "bafy".into()), Err(Malformed("blob.cid")));
    assert_eq!(wire(|p| p.blobs = vec![p.blobs[0].clone(); 2049]), Err(Malformed("blobs")));
    assert_eq!(wire(|p| p.sources = vec![p.sources[0].clone(); 5]), Err(Malformed("sources")));
    assert_eq!(wire(|p| p.sources[0] = "/ip4/192.0.2.1/tcp/4001".into()), Err(Malformed("sources")));
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(payload: Vec<u8>) {
        let _ = ProvisionRequest::decode(&payload);
        let _ = LogQuery::decode(&payload);
        let _ = <u64 as Payload>::decode(&payload);
    }
}
