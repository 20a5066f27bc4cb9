//! Every use case, cut off at each point where it waits, then repeated.

use crate::world::{World, name, order};
use apocryph_model::Amount;
use apocryph_publisher::Deployments;
use futures::FutureExt as _;
use std::pin::pin;

/// Runs to the `points`-th wait and no further; tells whether it ended before.
async fn cut_off<T>(points: usize, run: impl Future<Output = T>) -> bool {
    let mut run = pin!(run.fuse());
    for _ in 0..=points {
        if futures::poll!(run.as_mut()).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

fn deposited(world: &World) -> Amount {
    world.chain.0.lock().unwrap().channels.values().next().unwrap().deposited
}

#[tokio::test]
async fn a_deploy_that_was_cut_off_anywhere_ends_with_one_channel() {
    for points in 0.. {
        let world = World::one();
        let ended = cut_off(points, world.publisher.deploy(&order())).await;
        let deployed = world.publisher.deploy(&order()).await.unwrap();
        assert_eq!(world.chain.0.lock().unwrap().transactions, 1, "cut off at {points}");
        assert_eq!(deployed.channel.deposited, Amount(8_640_000), "cut off at {points}");
        if ended {
            assert!(points > 3, "there were points to cut at");
            return;
        }
    }
}

#[tokio::test]
async fn a_payment_that_was_cut_off_anywhere_is_paid_once() {
    let one = "1".parse().unwrap();
    for points in 0.. {
        let world = World::one();
        world.publisher.deploy(&order()).await.unwrap();
        let before = deposited(&world);
        if cut_off(points, world.publisher.fund(&name(), &one)).await {
            return;
        }
        world.publisher.fund(&name(), &one).await.unwrap();
        assert_eq!(deposited(&world), before.saturating_add(Amount(1_000_000)), "cut off at {points}");
    }
}

#[tokio::test]
async fn a_removal_that_was_cut_off_anywhere_brings_the_money_back() {
    for points in 0.. {
        let world = World::one();
        let held = world.chain.0.lock().unwrap().held;
        world.publisher.deploy(&order()).await.unwrap();
        let ended = cut_off(points, world.publisher.remove(&name())).await;
        world.publisher.remove(&name()).await.unwrap();
        world.chain.0.lock().unwrap().now += 3600;
        let withdrawn = cut_off(points, world.publisher.withdraw(&name())).await;
        if !withdrawn {
            world.publisher.withdraw(&name()).await.unwrap();
        }
        assert_eq!(world.chain.0.lock().unwrap().held, held, "cut off at {points}");
        assert_eq!(world.deployments.find(&name()).unwrap(), None, "cut off at {points}");
        if ended {
            return;
        }
    }
}
