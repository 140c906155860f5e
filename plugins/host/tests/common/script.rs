//! Guests that do what an event's body says, and a naive model of what bindings and emit trees must come to.
//!
//! A body is a JSON string of operations: `c` count, `i` keep a derived id, `x` ask for an effect, `r` refuse, `t` trap,
//! `fPo` emit to plugin P a body of the one operation o, `eP` emit the rest to P and accept. P is `a`, `b`, `c`, or `z` for
//! all of them. The model keeps whole copies of state where the host has savepoints.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tally_protocol::id::{Index, Stream};
use tally_protocol::outcome::{derived_id, effect_id};

use super::ledger::{LEDGER, World, id, manifest, plugin};

/// `run`: every event's script.
const RUN: &str = r#"
  (data (i32.const 1200) "t.?")
  (data (i32.const 1210) "k/id")
  (func $emit_to (param $letter i32) (param $from i32) (param $len i32)
    (i32.store8 (i32.const 1202) (i32.load8_u (local.get $letter)))
    (i32.store8 (i32.const 3100) (i32.const 34))
    (memory.copy (i32.const 3101) (local.get $from) (local.get $len))
    (i32.store8 (i32.add (i32.const 3101) (local.get $len)) (i32.const 34))
    (call $emit (i32.const 1200) (i32.const 3) (i32.const 3100) (i32.add (local.get $len) (i32.const 2))))
  (func $script (param $at i32) (param $end i32)
    (local $op i32)
    (block $over
      (loop $again
        (br_if $over (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $op (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (if (i32.eq (local.get $op) (i32.const 99)) (then (call $add_to_count)))
        (if (i32.eq (local.get $op) (i32.const 116)) (then (unreachable)))
        (if (i32.eq (local.get $op) (i32.const 114))
          (then (call $done (i32.const 0) (i32.const 1072) (i32.const 8)) (return)))
        (if (i32.eq (local.get $op) (i32.const 120))
          (then (call $effect (i32.const 1064) (i32.const 4) (i32.const 1040) (i32.const 0) (i32.const 1040) (i32.const 2))))
        (if (i32.eq (local.get $op) (i32.const 105))
          (then (call $id (i32.const 1064) (i32.const 4) (i32.const 3000))
                (call $kv_set (i32.const 1210) (i32.const 4) (i32.const 3000) (i32.const 32))))
        (if (i32.eq (local.get $op) (i32.const 101))
          (then (call $emit_to (local.get $at) (i32.add (local.get $at) (i32.const 1))
                  (i32.sub (i32.sub (local.get $end) (local.get $at)) (i32.const 1)))
                (local.set $at (local.get $end))))
        (if (i32.eq (local.get $op) (i32.const 102))
          (then (call $emit_to (local.get $at) (i32.add (local.get $at) (i32.const 1)) (i32.const 1))
                (local.set $at (i32.add (local.get $at) (i32.const 2)))))
        (br $again)))
    (call $accept))
  (func (export "run") (local $p i32) (local $body i32)
    (loop $next_event
      (call $next (i32.const 16))
      (if (i32.load (i32.const 16))
        (then
          (local.set $p (i32.load (i32.const 20)))
          (local.set $body (i32.add (i32.add (local.get $p) (i32.const 132))
            (i32.add (i32.load16_u offset=120 (local.get $p))
              (i32.add (i32.load16_u offset=122 (local.get $p)) (i32.load16_u offset=124 (local.get $p))))))
          (call $script (i32.add (local.get $body) (i32.const 1))
            (i32.sub (i32.add (local.get $body) (i32.load offset=128 (local.get $p))) (i32.const 1)))
          (br $next_event)))))
"#;

/// The script guest of this name and version.
pub(crate) fn scripted(name: &str, version: &str) -> Vec<u8> {
    limited(name, version, r#"{"gas":300000}"#)
}

/// [`scripted`] with limits of its own.
pub(crate) fn limited(name: &str, version: &str, limits: &str) -> Vec<u8> {
    let own = format!("t.{name}");
    plugin(&manifest(name, version, 1, &[&own, "t.z"], limits), RUN)
}

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// A world in which `a`, `b` and `c` run in these streams, installed in this order.
pub(crate) fn world(streams: &[Stream], order: [usize; 3]) -> World {
    let mut world = World::new();
    let releases = NAMES.map(|name| world.publish(&scripted(name, "1.0.0")));
    for stream in streams {
        for at in order {
            world.install(*stream, &releases[at]);
        }
    }
    world
}

/// A script of emits that go on, so that trees are met often.
pub(crate) fn script() -> impl Strategy<Value = String> {
    let op = prop_oneof![
        6 => Just("c".to_owned()),
        2 => Just("i".to_owned()),
        2 => Just("x".to_owned()),
        1 => Just("r".to_owned()),
        1 => Just("t".to_owned()),
        3 => (prop::sample::select(vec!['a', 'b', 'c', 'z']), prop::sample::select(vec!['c', 'i', 'x', 'r', 't']))
            .prop_map(|(to, op)| format!("f{to}{op}")),
        4 => prop::sample::select(vec!['a', 'b', 'c', 'z']).prop_map(|to| format!("e{to}")),
    ];
    prop::collection::vec(op, 0..6).prop_map(|ops| ops.concat())
}

pub(crate) fn body(script: &str) -> Vec<u8> {
    format!("\"{script}\"").into_bytes()
}

/// A plugin's state in the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) count: u64,
    pub(crate) id: Option<[u8; 32]>,
    pub(crate) effects: Vec<[u8; 32]>,
}

/// One stream in the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) order: Vec<String>,
    pub(crate) kept: BTreeMap<String, Kept>,
    /// Calls of `id` and `effect` at the open event: never undone.
    calls: BTreeMap<String, (u32, u32)>,
    /// Who ran at the open event, and how it ended.
    runs: Vec<(String, String)>,
}

impl Model {
    pub(crate) fn new(order: [usize; 3]) -> Self {
        let order = order.map(|at| NAMES[at].to_owned()).to_vec();
        let kept = order.iter().map(|name| (name.clone(), Kept::default())).collect();
        Self { order, kept, ..Self::default() }
    }

    fn hearers(&self, to: char) -> Vec<String> {
        self.order.iter().filter(|name| to == 'z' || name.starts_with(to)).cloned().collect()
    }

    /// What the outcome of an event to `to` must say: plugin and code, in their order.
    pub(crate) fn event(&mut self, index: Index, to: char, script: &str) -> Vec<String> {
        self.calls.clear();
        self.runs.clear();
        for name in self.hearers(to) {
            let (before, first) = (self.kept.clone(), self.runs.len());
            if !self.run(index, &name, script, 0) {
                self.kept = before;
                let undone = self.runs[first..].iter_mut().filter(|(_, code)| code == "accepted");
                undone.for_each(|(_, code)| *code = "dependency_rejected".to_owned());
            }
        }
        let code = |name: &String| {
            let mut own = self.runs.iter().filter(|(ran, _)| ran == name).map(|(_, code)| code);
            let first = own.clone().next()?;
            Some(format!("{name} {}", own.find(|code| *code != "accepted").unwrap_or(first)))
        };
        self.order.iter().filter_map(code).collect()
    }

    /// Runs a script and what it emits; gives whether the whole tree below was accepted.
    fn run(&mut self, index: Index, name: &str, script: &str, depth: usize) -> bool {
        let before = self.kept[name].clone();
        let (code, emits) = self.own(index, name, script, depth);
        let accepted = code == "accepted";
        self.runs.push((name.to_owned(), code));
        if !accepted {
            self.kept.insert(name.to_owned(), before);
            return false;
        }
        for (to, script) in emits {
            for other in self.hearers(to).into_iter().filter(|other| other != name) {
                if !self.run(index, &other, &script, depth + 1) {
                    return false;
                }
            }
        }
        true
    }

    /// One guest's work.
    fn own(&mut self, index: Index, name: &str, script: &str, depth: usize) -> (String, Vec<(char, String)>) {
        let (mut ops, mut emits, mut effects) = (script.chars(), Vec::new(), 0);
        let kept = self.kept.get_mut(name).expect("bound");
        let calls = self.calls.entry(name.to_owned()).or_default();
        while let Some(op) = ops.next() {
            match op {
                'c' => kept.count += 1,
                'i' => {
                    kept.id = Some(*derived_id(&LEDGER, index, &id(name), calls.0, b"mail").as_bytes());
                    calls.0 += 1;
                }
                'x' if effects == 4 => return ("limit(effects)".to_owned(), emits),
                'x' => {
                    kept.effects.push(*effect_id(&LEDGER, index, &id(name), calls.1, "mail", b"").as_bytes());
                    calls.1 += 1;
                    effects += 1;
                }
                'r' => return ("rejected(no-stock)".to_owned(), emits),
                't' => return ("trapped".to_owned(), emits),
                'e' | 'f' if depth == 4 => return ("limit(emit_depth)".to_owned(), emits),
                'e' => emits.push((ops.next().expect("a letter"), ops.by_ref().collect())),
                'f' => emits.push((ops.next().expect("a letter"), ops.next().expect("an op").to_string())),
                other => panic!("no operation: {other}"),
            }
        }
        ("accepted".to_owned(), emits)
    }
}
