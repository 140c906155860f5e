//! The dispatcher: reads the outbox in the order of the log, lets each effect go when it is its turn, hears operators.
//!
//! Takes the node's database and doors, and connectors; gives events. One task owns the board and is the only one that
//! decides; a step of an effect is a task of its own, and what it wrote is what counts. Ends if the journal or the log
//! fails or the node takes no events; nothing is lost by that, a restart begins with the journal.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tally_connectors::{Connector, Failure, Request};
use tally_core::metrics::Gauge;
use tally_core::{Clock, Ladder, NodeState, Reader, Submitter};
use tally_gateway::{EffectAction, EffectPort, EffectPortError};
use tally_protocol::id::{AgentId, Index, TreeSize};
use tally_protocol::key::SigningKey;
use tally_storage::keys::EffectKey;
use tally_storage::{DispatchFloor, Engine, Outbox};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::answer;
use super::board::{Board, Line};
use super::desk::{Counts, Desk, KindCounts, Word};
use super::ground::{At, Row, Stored, broken};
use super::journal::State;
use super::life::{Bounds, Known};
use super::step::{Broken, Step};
use crate::exit::Failure as Exit;

/// A connector, and the agent that signs for it.
pub struct Connected {
    /// Does it.
    pub connector: Box<dyn Connector>,
    /// Signs its answers. It stays the same as long as the connector does; its keys may change.
    pub agent: AgentId,
    /// The agent's key.
    pub key: SigningKey,
}

/// What a dispatcher is made of.
pub struct Parts {
    /// The node's database.
    pub engine: Arc<dyn Engine>,
    /// The log's read door.
    pub reader: Reader,
    /// The log's write door.
    pub submitter: Submitter,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
    /// What it may take.
    pub bounds: Bounds,
    /// Who does what; one connector a kind.
    pub connected: Vec<Connected>,
}

/// Rows of the outbox that are read together.
const PAGE: usize = 256;
/// How long nothing happens at the most: a clock that was set is noticed then.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// So many finished effects are worth a write of how far all are finished; after a pause a single one is.
const FLOOR_EVERY: u64 = 256;

/// An unfinished effect.
struct Held {
    known: Known,
    kind: String,
}

/// See the head of this file.
pub struct Dispatcher {
    stored: Stored,
    bounds: Bounds,
    connected: BTreeMap<String, Arc<Connected>>,
    board: Board,
    held: BTreeMap<EffectKey, Held>,
    going: JoinSet<Result<Known, Broken>>,
    tasks: HashMap<Id, EffectKey>,
    words: mpsc::Receiver<Word>,
    ladder: watch::Receiver<Ladder>,
    counts: Arc<Counts>,
    /// The outbox is read up to here.
    read: Option<EffectKey>,
    /// All of its rows below this size are read.
    read_below: TreeSize,
    /// What was asked for below this size was asked for before this process.
    began: TreeSize,
    /// The first that no connector here is for: it may have one after the next start.
    unconnected: Option<EffectKey>,
    /// Finished since the floor was stored.
    finished: u64,
    /// What is stored as the floor.
    floor: Option<EffectKey>,
}

impl Dispatcher {
    /// Before the node takes its first event; gives the operator's port too.
    ///
    /// # Errors
    /// Two connectors of one kind.
    pub fn new(parts: Parts) -> Result<(Self, Arc<dyn EffectPort>), Exit> {
        let Parts { engine, reader, submitter, clock, bounds, connected } = parts;
        let mut by_kind = BTreeMap::new();
        for one in connected {
            let kind = one.connector.kind().to_owned();
            if by_kind.insert(kind.clone(), Arc::new(one)).is_some() {
                return Err(Exit::usage(format!("there are two connectors of kind {kind}")));
            }
        }
        let kinds = by_kind.keys().map(|kind| (kind.clone(), KindCounts::default())).collect();
        let counts = Arc::new(Counts { kinds, ..Counts::default() });
        let (desk, words) = Desk::new(Arc::clone(&counts));
        let this = Self {
            began: reader.ladder().signed,
            ladder: reader.subscribe(),
            stored: Stored { outbox: Outbox::new(engine), reader, submitter, clock },
            board: Board::new(bounds.in_flight_max),
            bounds,
            connected: by_kind,
            held: BTreeMap::new(),
            going: JoinSet::new(),
            tasks: HashMap::new(),
            words,
            counts,
            read: None,
            read_below: TreeSize::new(0),
            unconnected: None,
            finished: 0,
            floor: None,
        };
        Ok((this, Arc::new(desk)))
    }

    /// Dispatches for as long as it is polled. Dropping it is as good as a crash, and no worse.
    pub async fn run(mut self) {
        let Err(Broken(why)) = self.dispatch().await;
        tracing::error!(why, "effects are dispatched no more until a restart");
        self.counts.ended.set(1);
        // Who speaks to the port from now on is told so.
        drop(self);
        std::future::pending::<()>().await;
    }

    async fn dispatch(&mut self) -> Result<Infallible, Broken> {
        self.begin_at_floor().await?;
        loop {
            match self.stored.reader.state() {
                NodeState::Running => {}
                other => return Err(Broken(format!("the node takes no events: {other:?}"))),
            }
            self.read_outbox().await?;
            if self.finished >= FLOOR_EVERY {
                self.store_floor().await?;
            }
            self.start_due();
            let now = self.stored.clock.wall();
            let pause = self.board.next_due().map_or(PAUSE_MAX, |due| due.since(now)).min(PAUSE_MAX);
            tokio::select! {
                Some(ended) = self.going.join_next_with_id() => self.on_end(ended).await?,
                changed = self.ladder.changed() => changed.map_err(broken)?,
                Some(word) = self.words.recv() => self.on_word(word).await?,
                () = tokio::time::sleep(pause) => self.store_floor().await?,
            }
        }
    }

    /// What lies below the floor is answered, if the log still holds what it held when the floor was stored.
    async fn begin_at_floor(&mut self) -> Result<(), Broken> {
        let floor = self.stored.floor().await?.filter(|floor| floor.size <= self.began);
        self.floor = floor.map(|floor| floor.last);
        self.read = self.floor;
        Ok(())
    }

    /// Stores up to where all is finished, if something was finished since.
    async fn store_floor(&mut self) -> Result<(), Broken> {
        if self.finished == 0 {
            return Ok(());
        }
        self.finished = 0;
        let open = self.held.keys().next().copied().into_iter().chain(self.unconnected).min();
        let Some(last) = open.map_or(self.read, before).filter(|last| self.floor.is_none_or(|floor| floor < *last))
        else {
            return Ok(());
        };
        let size = self.ladder.borrow().signed;
        self.stored.put_floor(DispatchFloor { last, size }).await?;
        self.floor = Some(last);
        Ok(())
    }

    /// Reads what was asked for since, as far as its outcome is signed and stored, and as there is room.
    async fn read_outbox(&mut self) -> Result<(), Broken> {
        let applied = self.ladder.borrow_and_update().applied;
        while self.read_below < applied && self.board.len() < self.bounds.held_max {
            let limit = PAGE.min(self.bounds.held_max - self.board.len());
            let rows = self.stored.page(self.read, limit).await?;
            let more = rows.len() == limit;
            for row in rows {
                // In the batch that is being stored: its turn is when the rung says so.
                if !applied.holds(row.place.index) {
                    self.read_below = applied;
                    return Ok(());
                }
                self.counts.read.add(1);
                self.read = Some(row.place);
                self.take_in(row).await?;
            }
            if !more {
                self.read_below = applied;
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, Row { place, request, record }: Row) -> Result<(), Broken> {
        let Some(connected) = self.connected.get(&request.kind) else {
            if !matches!(record.map(|record| record.state), Some(State::Answered { .. })) {
                self.counts.unconnected.set(self.counts.unconnected.get() + 1);
                self.unconnected = self.unconnected.or(Some(place));
            }
            return Ok(());
        };
        if let Some(State::Answered { index }) = record.as_ref().map(|record| &record.state)
            && self.stored.has_answer(*index, connected.agent, &request).await?
        {
            self.finished += 1;
            return Ok(());
        }
        let known = Known { record, sure: !self.began.holds(place.index) };
        if known.due(&self.bounds).is_none() {
            tell_dead(place, &request.kind, &known);
        }
        let Request { stream, kind, suffix, .. } = request;
        self.board.add(place, Line { stream, kind: kind.clone(), suffix }, known.due(&self.bounds));
        self.count(&kind, &known, |gauge| gauge.set(gauge.get() + 1));
        self.held.insert(place, Held { known, kind });
        Ok(())
    }

    /// Changes the gauge that a state of affairs is counted by.
    fn count(&self, kind: &str, known: &Known, change: impl FnOnce(&Gauge)) {
        let Some(counts) = self.counts.kinds.get(kind) else { return };
        change(match known.record.as_ref().map(|record| &record.state) {
            None | Some(State::NotDone { .. }) => &counts.waiting,
            Some(State::Attempted | State::Unknown { .. } | State::Answered { .. }) => &counts.unknown,
            Some(State::Decided { .. }) => &counts.decided,
            Some(State::Dead { .. }) => &counts.dead,
        });
    }

    fn start_due(&mut self) {
        while let Some(place) = self.board.take(self.stored.clock.wall()) {
            let Some(held) = self.held.get(&place) else { continue };
            let Some(connected) = self.connected.get(&held.kind) else { continue };
            if let Some(counts) = self.counts.kinds.get(&held.kind) {
                counts.in_flight.set(counts.in_flight.get() + 1);
            }
            let (stored, connected, bounds) = (self.stored.clone(), Arc::clone(connected), self.bounds);
            let known = held.known.clone();
            let task = self.going.spawn(async move {
                let row = stored.row(place).await?.ok_or_else(|| broken("a row of the outbox is gone"))?;
                let ground = At { stored: &stored, place, agent: connected.agent, key: &connected.key };
                let connector = connected.connector.as_ref();
                Step { ground: &ground, connector, bounds: &bounds, request: &row.request }.go(known).await
            });
            self.tasks.insert(task.id(), place);
        }
    }

    async fn on_end(&mut self, ended: Result<(Id, Result<Known, Broken>), JoinError>) -> Result<(), Broken> {
        let (id, known) = match ended {
            Ok((id, known)) => (id, Some(known?)),
            Err(error) => (error.id(), None),
        };
        let Some(place) = self.tasks.remove(&id) else { return Ok(()) };
        let known = match known {
            Some(known) => known,
            None => self.after_panic(place).await?,
        };
        self.settle(place, known, true);
        Ok(())
    }

    /// A connector that panics leaves an unknown outcome, and what the journal says.
    async fn after_panic(&mut self, place: EffectKey) -> Result<Known, Broken> {
        let row = self.stored.row(place).await?.ok_or_else(|| broken("a row of the outbox is gone"))?;
        let failure = Failure::Unknown("the connector failed inside".to_owned());
        let known = Known { record: row.record, sure: false };
        let known = known.not_found_out(row.request.id, self.stored.clock.wall(), &failure, &self.bounds);
        self.write(place, known).await
    }

    async fn write(&self, place: EffectKey, known: Known) -> Result<Known, Broken> {
        if let Some(record) = &known.record {
            self.stored.write(place, record).await?;
        }
        Ok(known)
    }

    /// Takes note of how it stands now.
    fn settle(&mut self, place: EffectKey, known: Known, went: bool) {
        let Some(Held { known: before, kind }) = self.held.remove(&place) else { return };
        self.count(&kind, &before, |gauge| gauge.set(gauge.get().saturating_sub(1)));
        let attempts = |known: &Known| known.record.as_ref().map_or(0, |record| record.attempts);
        if let Some(counts) = self.counts.kinds.get(&kind) {
            if went {
                counts.in_flight.set(counts.in_flight.get().saturating_sub(1));
            }
            counts.attempts.add(attempts(&known).saturating_sub(attempts(&before)).into());
        }
        if let Some(State::Answered { .. }) = known.record.as_ref().map(|record| &record.state) {
            self.board.finish(place);
            self.finished += 1;
            if let Some(counts) = self.counts.kinds.get(&kind) {
                counts.answered.add(1);
            }
            return;
        }
        let due = known.due(&self.bounds);
        if due.is_none() && before.due(&self.bounds).is_some() {
            tell_dead(place, &kind, &known);
        }
        if went {
            self.board.back(place, due);
        } else {
            self.board.wake(place, due);
        }
        self.count(&kind, &known, |gauge| gauge.set(gauge.get() + 1));
        self.held.insert(place, Held { known, kind });
    }

    async fn on_word(&mut self, Word { place, action, reply }: Word) -> Result<(), Broken> {
        let said = self.hear(place, action).await?;
        // Who hangs up has been heard all the same.
        let _ = reply.send(said);
        Ok(())
    }

    async fn hear(
        &mut self,
        place: EffectKey,
        action: EffectAction,
    ) -> Result<Result<&'static str, EffectPortError>, Broken> {
        let Some(row) = self.stored.row(place).await? else { return Ok(Err(EffectPortError::NotFound)) };
        let stands = row.record.as_ref().map_or("waiting", |record| record.state.name());
        if stands != "dead" {
            return Ok(Err(EffectPortError::NotDead(stands.to_owned())));
        }
        let Some(held) = self.held.get(&place) else {
            let why =
                format!("no connector of kind {} is configured here, or it waits behind too many", row.request.kind);
            return Ok(Err(EffectPortError::Unavailable(why)));
        };
        let (id, now) = (row.request.id, self.stored.clock.wall());
        let known = match action {
            EffectAction::Retry => held.known.retried(id, now),
            EffectAction::Fail => {
                let body = answer::body(&row.request, &answer::given_up()).map_err(broken)?;
                held.known.decided(id, now, body)
            }
        };
        let known = self.write(place, known).await?;
        let stands = known.record.as_ref().map_or("waiting", |record| record.state.name());
        tracing::warn!(index = %place.index, number = place.number, action = action.as_str(), stands, "a dead letter");
        self.settle(place, known, false);
        Ok(Ok(stands))
    }
}

/// The last place that is before another; places need not be taken.
fn before(place: EffectKey) -> Option<EffectKey> {
    let EffectKey { index, number } = place;
    match number.checked_sub(1) {
        Some(number) => Some(EffectKey { index, number }),
        None => index.get().checked_sub(1).map(|index| EffectKey { index: Index::new(index), number: u32::MAX }),
    }
}

/// An alarm: it blocks its line until an operator speaks.
fn tell_dead(place: EffectKey, kind: &str, known: &Known) {
    let why = known.record.as_ref().and_then(|record| record.state.why()).unwrap_or_default();
    tracing::error!(index = %place.index, number = place.number, kind, why, "an effect is a dead letter");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_a_place_is_the_last_that_is_smaller() {
        let place = |index, number| EffectKey { index: Index::new(index), number };
        assert_eq!(before(place(7, 3)), Some(place(7, 2)));
        assert_eq!(before(place(7, 0)), Some(place(6, u32::MAX)));
        assert_eq!(before(place(0, 0)), None);
    }
}
