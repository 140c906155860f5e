//! What a crash leaves: nothing acknowledged is lost, nothing is there twice, the log that comes back extends every
//! checkpoint that was given out.
//!
//! The node is the real binary in a child process. With the feature `failpoints` it aborts at each named point of the
//! pipeline; without it, it is killed at arbitrary moments.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

#[cfg(not(feature = "failpoints"))]
mod kills {
    use std::time::{Duration, Instant};

    use super::common::Home;
    use super::common::load::Load;

    #[test]
    fn nothing_acknowledged_is_lost_by_kills_at_arbitrary_moments() {
        let home = Home::new();
        drop(home.start());
        let mut load = Load::new(&home);
        for round in 0..5u64 {
            let mut node = home.start();
            assert_eq!(node.state(), "running", "{}", node.why());
            let moment = Duration::from_millis(u64::from(random_byte()) + round);
            let began = Instant::now();
            load.drive(|_| began.elapsed() >= moment);
            // Load goes on while the node dies.
            std::thread::scope(|scope| {
                let killer = scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(u64::from(random_byte()) / 2));
                    node.signal(rustix::process::Signal::KILL);
                    node.wait_for_end()
                });
                load.drive(|_| killer.is_finished());
                killer.join().unwrap();
            });
            let node = home.start();
            load.check();
            node.stop();
            home.fsck();
        }
        assert!(load.acked.len() > 100, "the load was none: {}", load.acked.len());
    }

    fn random_byte() -> u8 {
        tally::random::bytes::<1>().unwrap()[0]
    }
}

#[cfg(feature = "failpoints")]
mod failpoints {
    use std::collections::VecDeque;
    use std::os::unix::process::ExitStatusExt as _;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::common::load::Load;
    use super::common::{Home, Node};

    const SIGABRT: i32 = 6;
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Runs one case per fail point, two at a time.
    fn at_every_fail_point(case: impl Fn(&str) + Sync) {
        let points = Mutex::new(tally_core::FAIL_POINTS.iter().copied().collect::<VecDeque<_>>());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some(point) = points.lock().unwrap().pop_front() else { return };
                        println!("at {point}");
                        case(point);
                    }
                });
            }
        });
    }

    fn with_failpoint(home: &Home, point: &str, nth: u64) -> std::process::Command {
        let mut command = home.dev();
        command.env("TALLY_FAILPOINT", format!("{point}:{nth}"));
        command
    }

    #[test]
    fn a_crash_at_any_fail_point_under_load_loses_nothing() {
        at_every_fail_point(|point| {
            let home = Home::new();
            drop(home.start());
            let mut load = Load::new(&home);
            if point.starts_with("recover.") {
                // Passed at a start, with something to recover.
                let mut node = home.start();
                load.send(200);
                node.signal(rustix::process::Signal::KILL);
                node.wait_for_end();
                let ended = Node::start(with_failpoint(&home, point, 1)).err();
                assert_eq!(ended.expect("it started").status.signal(), Some(SIGABRT), "{point}");
            } else {
                // Publishing happens at the start, of both logs and perhaps twice; the sixth time is under load.
                // Commitments are cut for the first time ten seconds later.
                let (nth, idle) = match point.split('.').next().unwrap() {
                    "publish" => (6, Duration::ZERO),
                    "commit" => (1, Duration::from_secs(9)),
                    _ => (5, Duration::ZERO),
                };
                let mut node = Node::start(with_failpoint(&home, point, nth)).unwrap_or_else(|ended| panic!("{ended}"));
                if !idle.is_zero() {
                    load.send(100);
                    std::thread::sleep(idle);
                }
                assert!(load.drive_until_gone(&mut node, PATIENCE), "{point} was never passed");
                let status = node.wait_for_end().unwrap();
                assert_eq!(status.signal(), Some(SIGABRT), "{point}");
            }
            let node = home.start();
            assert_eq!(node.state(), "running", "{point}: {}", node.why());
            load.check();
            node.stop();
            home.fsck();
        });
    }

    #[test]
    fn a_crash_at_any_fail_point_of_the_first_start_leaves_a_node_that_starts() {
        at_every_fail_point(|point| {
            let home = Home::new();
            // Some points are only passed later: then the node is simply killed while it is young.
            if let Ok(node) = Node::start(with_failpoint(&home, point, 1)) {
                node.kill();
            }
            let node = home.start();
            assert_eq!(node.state(), "running", "{point}: {}", node.why());
            let mut load = Load::new(&home);
            load.send(40);
            load.check();
            node.stop();
            home.fsck();
        });
    }
}
