//! What is shown of plugins while events are applied: releases and bindings, their state as of one size, log lines.
//!
//! The follower writes, whoever asks reads. Everything here is of the newest stored range: it changes when that is
//! stored, not when it is computed.
//!
//! A [`View`] reads one plugin's state as of the size at which it was opened, however far applying goes meanwhile: before a
//! range is stored, what it changes of a space that somebody looks at is kept here as it was. So a question never waits
//! for more than the one write that is under way, and applying waits for no question.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tally_plugin_host::delta::{Delta, Line, Place};
use tally_plugin_host::overlay::{Overlay, Write};
use tally_plugin_host::registry::{Contract, Standing};
use tally_plugin_host::state::{Row, StateError, StateView};
use tally_protocol::id::{Index, Stream, TreeSize};
use tally_protocol::plugin_life::PluginRegister;

/// How long a question waits for a write that is under way.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A binding as it stands.
#[derive(Debug, Clone)]
pub(super) struct ShownBinding {
    pub(super) standing: Standing,
    /// None unless it ran since the node started.
    pub(super) contract: Option<Contract>,
}

/// Releases and bindings at one position of the log.
#[derive(Debug)]
pub(super) struct Bindings {
    pub(super) register: PluginRegister,
    /// By stream, in install order.
    pub(super) bound: BTreeMap<Stream, Vec<ShownBinding>>,
}

/// A line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedLine {
    pub(super) index: Index,
    pub(super) level: u8,
    pub(super) text: String,
}

/// What a range changed of a space, as it was before.
#[derive(Debug, Clone)]
enum Before {
    /// Too much to keep: the plugin was removed.
    Removed,
    Keys(Vec<Write>),
}

struct Layer {
    /// The size before the range.
    from: TreeSize,
    spaces: BTreeMap<Place, Before>,
}

#[derive(Default)]
struct Inner {
    bindings: Option<(TreeSize, Arc<Bindings>)>,
    logs: BTreeMap<Place, VecDeque<LoggedLine>>,
    /// A range is computed and may be stored at any moment.
    storing: bool,
    /// Who looks at what, as of which size.
    views: BTreeMap<u64, (TreeSize, Place)>,
    view_count: u64,
    /// In the order of the ranges.
    layers: Vec<Layer>,
    /// Rises when the state begins anew.
    resets: u64,
}

/// What is shown.
pub(super) struct Shown {
    inner: Mutex<Inner>,
    stored: Condvar,
    log_lines_max: usize,
}

impl Shown {
    pub(super) fn new(log_lines_max: usize) -> Self {
        Self { inner: Mutex::default(), stored: Condvar::new(), log_lines_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases and bindings, with the size they are as of; none before the follower has started.
    pub(super) fn bindings(&self) -> Option<(TreeSize, Arc<Bindings>)> {
        self.lock().bindings.clone()
    }

    /// What is stored begins anew at this size.
    pub(super) fn reset(&self, size: TreeSize, bindings: Arc<Bindings>) {
        let mut inner = self.lock();
        inner.bindings = Some((size, bindings));
        inner.resets += 1;
        inner.storing = false;
        inner.layers.clear();
        self.stored.notify_all();
    }

    /// A range is about to be stored: keeps what it changes of spaces that somebody looks at, as `read` gives it.
    ///
    /// # Errors
    /// It could not be read.
    pub(super) fn before_storing(
        &self,
        delta: &Delta,
        read: impl Fn(&Place, &[u8]) -> Result<Option<Bytes>, StateError>,
    ) -> Result<(), StateError> {
        let (from, watched) = {
            let mut inner = self.lock();
            // From here on nobody begins to look, until it is stored.
            inner.storing = true;
            let from = inner.bindings.as_ref().map_or(TreeSize::new(0), |(size, _)| *size);
            let watched: Vec<Place> = inner.views.values().map(|(_, place)| place.clone()).collect();
            (from, watched)
        };
        let mut spaces = BTreeMap::new();
        for space in &delta.spaces {
            let place = (space.stream, space.plugin.clone());
            if !watched.contains(&place) {
                continue;
            }
            let before = if space.cleared {
                Before::Removed
            } else {
                let one = |(key, _): &Write| Ok((key.clone(), read(&place, key)?));
                Before::Keys(space.writes.iter().map(one).collect::<Result<_, StateError>>()?)
            };
            spaces.insert(place, before);
        }
        if !spaces.is_empty() {
            self.lock().layers.push(Layer { from, spaces });
        }
        Ok(())
    }

    /// Everything below this size is stored. Without bindings they are as before.
    pub(super) fn after_storing(&self, size: TreeSize, bindings: Option<Arc<Bindings>>, lines: Vec<Line>) {
        let mut inner = self.lock();
        let bindings = bindings.or_else(|| inner.bindings.take().map(|(_, bindings)| bindings));
        inner.bindings = bindings.map(|bindings| (size, bindings));
        inner.storing = false;
        inner.forget_layers();
        for Line { index, stream, plugin, line } in lines {
            let ring = inner.logs.entry((stream, plugin)).or_default();
            if ring.len() >= self.log_lines_max {
                ring.pop_front();
            }
            if self.log_lines_max > 0 {
                ring.push_back(LoggedLine { index, level: line.level, text: line.text });
            }
        }
        self.stored.notify_all();
    }

    /// Waits until no write is under way; `false` if it takes too long.
    pub(super) fn settled(&self) -> bool {
        let waiting = self.stored.wait_timeout_while(self.lock(), WAIT_MAX, |inner| inner.storing);
        !waiting.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// A plugin's newest lines behind an event, oldest first; without one the newest of all.
    pub(super) fn lines(&self, place: &Place, after: Option<Index>, limit: usize) -> Vec<LoggedLine> {
        let inner = self.lock();
        let lines = inner.logs.get(place).into_iter().flatten();
        let behind: Vec<_> = lines.filter(|line| after.is_none_or(|after| line.index > after)).cloned().collect();
        let surplus = if after.is_some() { 0 } else { behind.len().saturating_sub(limit) };
        behind.into_iter().skip(surplus).take(limit).collect()
    }

    /// A plugin's state and all bindings as of the newest stored size; none if a write takes too long, or nothing was
    /// applied yet.
    pub(super) fn view(self: &Arc<Self>, place: &Place, now: Arc<dyn StateView>) -> Option<(Arc<Bindings>, View)> {
        let waiting = self.stored.wait_timeout_while(self.lock(), WAIT_MAX, |inner| inner.storing);
        let (mut inner, timeout) = waiting.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        let (size, bindings) = inner.bindings.clone()?;
        inner.view_count += 1;
        let (number, resets) = (inner.view_count, inner.resets);
        inner.views.insert(number, (size, place.clone()));
        drop(inner);
        let (shown, place) = (Arc::clone(self), place.clone());
        Some((bindings, View { shown, number, resets, size, place, now }))
    }
}

impl Inner {
    /// What no view asks for any more.
    fn forget_layers(&mut self) {
        let oldest = self.views.values().map(|(size, _)| *size).min();
        self.layers.retain(|layer| oldest.is_some_and(|oldest| oldest <= layer.from));
    }
}

/// One plugin's state as of one size.
pub(super) struct View {
    shown: Arc<Shown>,
    number: u64,
    resets: u64,
    pub(super) size: TreeSize,
    place: Place,
    /// As it is stored at any moment.
    now: Arc<dyn StateView>,
}

impl View {
    /// What was changed since, as it was.
    fn before(&self) -> Result<BTreeMap<Bytes, Option<Bytes>>, StateError> {
        let gone = || Err(StateError("the state was replaced meanwhile".to_owned()));
        let inner = self.shown.lock();
        if inner.resets != self.resets {
            return gone();
        }
        let mut before = BTreeMap::new();
        for layer in inner.layers.iter().filter(|layer| layer.from >= self.size) {
            match layer.spaces.get(&self.place) {
                Some(Before::Removed) => return gone(),
                // The earliest range's is the oldest.
                Some(Before::Keys(keys)) => {
                    for (key, value) in keys {
                        before.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                None => {}
            }
        }
        Ok(before)
    }

    fn key_before(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, StateError> {
        let inner = self.shown.lock();
        if inner.layers.is_empty() && inner.resets == self.resets {
            return Ok(None);
        }
        drop(inner);
        Ok(self.before()?.get(key).cloned())
    }
}

impl StateView for View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        // Stored first: what a later range changes is kept before it is stored.
        let now = self.now.get(key)?;
        Ok(self.key_before(key)?.unwrap_or(now))
    }

    fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError> {
        let mut rows = self.now.range(start, end, limit, reverse)?;
        let mut before = self.before()?;
        while !before.is_empty() {
            let mut as_it_was = Overlay::new(Arc::clone(&self.now));
            let writes: Vec<_> = before.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            // Nobody writes over it, so nobody asks how much it has grown.
            as_it_was.absorb(&writes, 0);
            rows = as_it_was.range(start, end, limit, reverse)?;
            let since = self.before()?;
            if since.len() == before.len() {
                break;
            }
            before = since;
        }
        Ok(rows)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut inner = self.shown.lock();
        inner.views.remove(&self.number);
        inner.forget_layers();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

    use tally_plugin_host::delta::SpaceDelta;
    use tally_protocol::hash::LedgerId;
    use tally_protocol::id::PluginId;

    use super::*;

    /// A space that changes while it is looked at.
    #[derive(Default)]
    struct Now(Mutex<BTreeMap<Bytes, Bytes>>);

    impl StateView for Now {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
            Ok(self.0.lock().unwrap().get(key).cloned())
        }

        fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError> {
            StateView::range(&*self.0.lock().unwrap(), start, end, limit, reverse)
        }
    }

    fn key(number: u8) -> Bytes {
        vec![number].into()
    }

    fn delta(place: &Place, writes: &[(u8, Option<u8>)], cleared: bool) -> Delta {
        let writes = writes.iter().map(|(k, v)| (key(*k), v.map(key))).collect();
        let space = SpaceDelta { stream: place.0, plugin: place.1.clone(), cleared, writes };
        Delta {
            first: None,
            entries: 0,
            spaces: vec![space],
            cuts: tally_plugin_host::apply::FreshList::default(),
            effects: Vec::new(),
            standings: Vec::new(),
            log: Vec::new(),
            refused: Vec::new(),
        }
    }

    struct World {
        shown: Arc<Shown>,
        now: Arc<Now>,
        place: Place,
        size: u64,
    }

    impl World {
        fn new() -> Self {
            let shown = Arc::new(Shown::new(2));
            let register = PluginRegister::new(LedgerId::ZERO);
            shown.reset(TreeSize::new(1), Arc::new(Bindings { register, bound: BTreeMap::new() }));
            let place = (Stream::from_bytes(&[7; 32]), PluginId::new("p").unwrap());
            Self { shown, now: Arc::default(), place, size: 1 }
        }

        fn store(&mut self, writes: &[(u8, Option<u8>)], cleared: bool) {
            let delta = delta(&self.place, writes, cleared);
            self.shown.before_storing(&delta, |_, key| self.now.get(key)).unwrap();
            let mut now = self.now.0.lock().unwrap();
            if cleared {
                now.clear();
            }
            for (key, value) in &delta.spaces[0].writes {
                match value {
                    Some(value) => now.insert(key.clone(), value.clone()),
                    None => now.remove(key),
                };
            }
            drop(now);
            self.size += 1;
            self.shown.after_storing(TreeSize::new(self.size), None, Vec::new());
        }

        fn view(&self) -> View {
            self.shown.view(&self.place, Arc::clone(&self.now) as Arc<dyn StateView>).unwrap().1
        }
    }

    #[test]
    fn a_view_reads_as_of_its_size_whatever_is_stored_meanwhile() {
        let mut world = World::new();
        world.store(&[(1, Some(1)), (2, Some(2)), (3, Some(3))], false);
        let old = world.view();
        world.store(&[(1, Some(9)), (2, None), (4, Some(4))], false);
        let newer = world.view();
        world.store(&[(1, None), (3, Some(8)), (5, Some(5))], false);
        let rows = |view: &View, limit, reverse| view.range(&[], None, limit, reverse).unwrap();
        let pairs = |pairs: &[(u8, u8)]| pairs.iter().map(|(k, v)| (key(*k), key(*v))).collect::<Vec<Row>>();
        assert_eq!(rows(&old, 9, false), pairs(&[(1, 1), (2, 2), (3, 3)]));
        assert_eq!(rows(&old, 2, true), pairs(&[(3, 3), (2, 2)]));
        assert_eq!((old.get(&[1]).unwrap(), old.get(&[4]).unwrap()), (Some(key(1)), None));
        assert_eq!(rows(&newer, 9, false), pairs(&[(1, 9), (3, 3), (4, 4)]));
        assert_eq!((old.size, newer.size), (TreeSize::new(2), TreeSize::new(3)));
        drop(old);
        assert_eq!(world.shown.lock().layers.len(), 1, "the other still needs one");
        drop(newer);
        assert!(world.shown.lock().layers.is_empty());
        assert_eq!(rows(&world.view(), 9, false), pairs(&[(3, 8), (4, 4), (5, 5)]));
        world.store(&[(3, None)], false);
        assert!(world.shown.lock().layers.is_empty(), "nobody looks");
    }

    #[test]
    fn a_view_of_a_space_that_goes_says_so() {
        let mut world = World::new();
        world.store(&[(1, Some(1))], false);
        let view = world.view();
        world.store(&[], true);
        assert!(view.get(&[1]).is_err() && view.range(&[], None, 1, false).is_err());
        let view = world.view();
        assert_eq!(view.get(&[1]).unwrap(), None);
        let (_, bindings) = world.shown.bindings().unwrap();
        world.shown.reset(TreeSize::new(1), bindings);
        assert!(view.get(&[1]).is_err(), "the state began anew");
    }

    #[test]
    fn a_view_is_not_opened_between_computing_and_storing() {
        let world = World::new();
        world.shown.before_storing(&delta(&world.place, &[(1, Some(1))], false), |_, key| world.now.get(key)).unwrap();
        let now = Arc::clone(&world.now) as Arc<dyn StateView>;
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| world.shown.view(&world.place, now).unwrap().1.size);
            std::thread::sleep(Duration::from_millis(50));
            assert!(!opened.is_finished());
            world.shown.after_storing(TreeSize::new(2), None, Vec::new());
            assert_eq!(opened.join().unwrap(), TreeSize::new(2));
        });
    }
}
