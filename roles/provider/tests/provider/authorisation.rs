use crate::{publisher::Publisher, world::Place};
use apocryph_model::{ChannelId, Hash32, LogQuery, Method};
use apocryph_provider::{Authorisation, Deployments};

async fn refusal(place: &Place, call: Authorisation) -> String {
    let fault = Deployments::status(&place.provider, call).await.unwrap_err();
    format!("{fault:?}")
}

#[tokio::test]
async fn every_refusal_is_the_same_whatever_is_there() {
    let place = Place::new();
    let (alice, mallory) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    alice.deploy(&place).await;
    let good = || alice.statement(&place, Method::Status);
    let other_peer = "12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE".parse().unwrap();
    let bad = [
        apocryph_model::Statement { method: Method::Remove, ..good() },
        apocryph_model::Statement { provider: other_peer, ..good() },
        apocryph_model::Statement { payload: Hash32([6; 32]), ..good() },
        apocryph_model::Statement { expires_at: good().expires_at - 60, ..good() },
        apocryph_model::Statement { expires_at: good().expires_at + 300, ..good() },
        apocryph_model::Statement { channel: ChannelId([9; 32]), ..good() },
    ];
    let expected = refusal(&place, mallory.signed(good())).await;
    assert!(expected.contains("unauthorised"), "{expected}");
    for statement in bad {
        assert_eq!(refusal(&place, alice.signed(statement.clone())).await, expected, "{statement:?}");
    }
    let mut garbage = alice.signed(good());
    garbage.signature.0[64] = 0;
    assert_eq!(refusal(&place, garbage).await, expected);
    // A pod of her own that is not there gets no other answer than one of somebody else's.
    let absent = Publisher::new(1, "other");
    assert_eq!(refusal(&place, absent.call(&place, Method::Status)).await, expected);
}

#[tokio::test]
async fn a_statement_counts_once_also_after_a_restart() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let call = alice.call(&place, Method::Status);
    Deployments::status(&place.provider, call.clone()).await.unwrap();
    assert!(refusal(&place, call.clone()).await.contains("unauthorised"));
    let place = place.restart();
    assert!(refusal(&place, call).await.contains("unauthorised"));
}

#[tokio::test]
async fn a_failed_guess_does_not_use_up_the_publishers_nonce() {
    let place = Place::new();
    let (alice, mallory) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    alice.deploy(&place).await;
    let statement = alice.statement(&place, Method::Status);
    refusal(&place, mallory.signed(statement.clone())).await;
    Deployments::status(&place.provider, alice.signed(statement)).await.unwrap();
}

#[tokio::test]
async fn logs_are_of_containers_that_the_pod_has() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let ask = async |container: &str| {
        let call = alice.signed(alice.statement(&place, Method::Logs));
        let query = LogQuery { container: Some(container.parse().unwrap()), ..LogQuery::default() };
        Deployments::logs(&place.provider, call, query).await.map(drop)
    };
    let own = alice.spec("web").containers[0].name.clone();
    assert_eq!(ask(own.as_str()).await, Ok(()));
    let other = ask("other").await.unwrap_err();
    assert_eq!(other.code, "no-such-container");
    assert!(other.text.ends_with(&format!("it has {own}")), "{}", other.text);
}

#[tokio::test]
async fn one_publisher_cannot_touch_anothers_pod() {
    let place = Place::new();
    let (alice, mallory) = (Publisher::new(1, "web"), Publisher::new(2, "web"));
    alice.deploy(&place).await;
    mallory.deploy(&place).await;
    let stolen = |method| {
        mallory.signed(apocryph_model::Statement {
            channel: alice.channel(),
            ..mallory.statement(&place, method)
        })
    };
    assert!(Deployments::remove(&place.provider, stolen(Method::Remove)).await.is_err());
    assert!(Deployments::usage(&place.provider, stolen(Method::Usage), 0).await.is_err());
    let logs = Deployments::logs(&place.provider, stolen(Method::Logs), LogQuery::default()).await;
    assert!(logs.is_err());
    let request = mallory.request(&place, &mallory.spec("steal"));
    let call = stolen(Method::Provision);
    let provisioned = Deployments::provision(&place.provider, call, request, Box::new(|_| ())).await;
    assert_eq!(provisioned.unwrap_err().code, "unauthorised");
    assert!(place.double.state().prepared.contains_key(&alice.channel()));
}
