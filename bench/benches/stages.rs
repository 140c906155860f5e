//! Criterion over every stage's work alone: `cargo bench --package tally-bench --bench stages -- verify`.
//!
//! One iteration is a run of a thousand events, and throughput is in events.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tally_bench::stages::{RUN, all};

fn stages(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stages = all(500, folder.path()).expect("the stages' input");
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Elements(RUN as u64)).sample_size(20);
    for mut stage in stages {
        group.bench_function(stage.name, |bencher| bencher.iter(|| (stage.run)()));
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
