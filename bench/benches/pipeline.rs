//! Criterion over the whole core in this process, without network and disk: one iteration is 20,000 new events from
//! the door to their receipts.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tally_bench::events::{Maker, Shape};
use tally_bench::load::Pace;
use tally_bench::pipeline::{Load, run};
use tally_bench::world::{Store, TENANT, World};
use tally_core::Config;

const EVENTS: usize = 20_000;

fn pipeline(criterion: &mut Criterion) {
    let maker = Maker::new(Shape::default(), TENANT, 1);
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(10).measurement_time(Duration::from_secs(20));
    let load = Load { callers: 2, window: 64, pace: Pace::Closed };
    let world = World::start(&Store::Memory, Config::development()).expect("the core starts");
    world.register(&maker.agents).expect("the agents are taken");
    group.bench_function("memory", |bencher| {
        let make = || maker.make(EVENTS).expect("signed events");
        bencher.iter_batched(
            make,
            |bodies| run(&world, &maker, &bodies, load).expect("a run"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    world.stop().expect("the core stops");
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
