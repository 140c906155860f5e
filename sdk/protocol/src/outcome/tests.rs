//! What the vectors cannot say about outcomes.

use super::*;

fn binding(plugin: &str) -> BindingOutcome {
    BindingOutcome {
        plugin: PluginId::new(plugin).unwrap(),
        module: ModuleHash::from_bytes([1; 32]),
        profile: ProfileId::from_bytes([2; 32]),
        fresh: false,
        code: OutcomeCode::Rejected(Reason::new(&[b'x'; REJECTED_CODE_BYTES_MAX]).unwrap()),
        gas: u64::MAX,
        writes: WritesHash::from_bytes([3; 32]),
        emits: EmitsHash::from_bytes([4; 32]),
        effects: EffectsHash::from_bytes([5; 32]),
    }
}

#[test]
fn the_longest_outcome_is_as_long_as_its_bound_says() {
    let name = |at: usize| format!("{at:0>64}");
    let bindings: Vec<_> = (0..BINDINGS_MAX).map(|at| binding(&name(at))).collect();
    let outcome = Outcome { event_leaf: LeafHash::ZERO, bindings };
    assert_eq!(outcome.encode().len(), OUTCOME_BYTES_MAX);
    assert_eq!(Outcome::decode(&outcome.encode(), LeafHash::ZERO), Ok(outcome));
}

#[test]
fn an_outcome_that_would_not_read_back_does_not_pass_its_check() {
    let leaf = LeafHash::ZERO;
    let many = (0..=BINDINGS_MAX).map(|at| binding(&format!("p{at}"))).collect();
    let too_many = Outcome { event_leaf: leaf, bindings: many };
    assert_eq!(too_many.check(), Err(OutcomeError::Count(BINDINGS_MAX + 1)));
    assert!(Outcome::decode(&too_many.encode(), leaf).is_err());
    let twice = Outcome { event_leaf: leaf, bindings: vec![binding("a"), binding("b"), binding("a")] };
    assert_eq!(twice.check(), Err(OutcomeError::PluginTwice));
    assert_eq!(Outcome::decode(&twice.encode(), leaf), Err(OutcomeError::PluginTwice));
}

#[test]
fn a_record_with_a_placeholder_is_none() {
    let leaf = LeafHash::from_bytes([9; 32]);
    type Lie = fn(&mut BindingOutcome);
    let lies: [(&str, Lie); 5] = [
        ("module", |binding| binding.module = ModuleHash::ZERO),
        ("profile", |binding| binding.profile = ProfileId::ZERO),
        ("writes", |binding| binding.writes = WritesHash::ZERO),
        ("emits", |binding| binding.emits = EmitsHash::ZERO),
        ("effects", |binding| binding.effects = EffectsHash::ZERO),
    ];
    for (name, lie) in lies {
        let mut outcome = Outcome { event_leaf: leaf, bindings: vec![binding("a"), binding("b")] };
        assert_eq!(Outcome::decode(&outcome.encode(), leaf).as_ref(), Ok(&outcome));
        lie(&mut outcome.bindings[1]);
        assert_eq!(outcome.check(), Err(OutcomeError::Placeholder(name)));
        assert_eq!(Outcome::decode(&outcome.encode(), leaf), Err(OutcomeError::Placeholder(name)));
    }
}

#[test]
fn limits_are_numbered_from_1_without_a_gap_and_named_once() {
    for (at, kind) in LimitKind::ALL.iter().enumerate() {
        assert_eq!(usize::from(kind.number()), at + 1);
        assert_eq!(LimitKind::from_number(kind.number()), Some(*kind));
        assert!(LimitKind::ALL[..at].iter().all(|other| other.as_str() != kind.as_str()));
    }
}

#[test]
fn accepted_and_refused_in_the_plugin_s_own_words_are_no_failures() {
    let reason = Reason::new(b"stock").unwrap();
    for code in [OutcomeCode::Accepted, OutcomeCode::Rejected(reason), OutcomeCode::DependencyRejected] {
        assert!(!code.is_failure(), "{code}");
        assert_eq!(code.is_accepted(), code == OutcomeCode::Accepted);
    }
    use OutcomeCode::{BadOutput, Limit, MemoryExceeded, OutOfGas, StackExceeded, Trapped};
    for code in [OutOfGas, StackExceeded, MemoryExceeded, Trapped, Limit(LimitKind::Writes), BadOutput] {
        assert!(code.is_failure() && !code.is_accepted(), "{code}");
    }
}
