//! What reading the usage of 100 pods that run costs in processor time: cgroups, links, clocks. As a
//! line of JSON. Needs root.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails has nothing to report")]

#[path = "../tests/support/mod.rs"]
mod support;

use apocryph_model::{Bytes, Millicores};
use apocryph_provider::Engine as _;
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use apocryph_testbed::figure::Figure;
use apocryph_testbed::processor;
use support::{Bench, with_engine};

const PODS: u8 = 100;
const RUNS: usize = 100;
/// In milliseconds; a thousand pods in ten times as much.
const TARGET: f64 = 5.0;

fn main() {
    with_engine(|bench| Box::pin(measure(bench)));
}

async fn measure(bench: &mut Bench) {
    start_pods(bench).await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let before = processor::own().unwrap();
        let readings = bench.engine().sample().await.unwrap();
        runs.push((processor::own().unwrap() - before).as_secs_f64() * 1000.0);
        assert_eq!(readings.len(), usize::from(PODS));
    }
    println!("{}", Figure::median("sampling of 100 pods, processor time", "ms", &runs).target(TARGET));
}

async fn start_pods(bench: &mut Bench) {
    let image = bench.ship(&shell());
    for number in 1..=PODS {
        let script = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";
        let pod = PodUnderTest::new(number, image).container("main", script).with(|container| {
            container.resources.cpu = Millicores(10);
            container.resources.memory = Bytes(8 << 20);
        });
        let pod = pod.build(bench);
        bench.engine().prepare(&pod).await.unwrap();
        bench.engine().scale(pod.id, 1).await.unwrap();
    }
}
