//! Where events come from: fixtures, or a log.
//!
//! Takes a place; gives [`Track`]s, one for each fixture, or each stream of an [`Export`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tally_plugin_host::session::Event;
use tally_protocol::entry::Entry;
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{Index, Stream};
use tally_protocol::run::{Record, StoredRun};

use crate::error::AuthorError;
use crate::fixture::{self, Fixture};
use crate::play::{State, Track};

/// Something that gives events.
pub trait EventSource {
    /// Its tracks: each stream's events with an index below `to`, in order, from the first on: a plugin's state hangs on
    /// all of them.
    ///
    /// # Errors
    /// It cannot be read.
    fn tracks(&self, to: Index) -> Result<Vec<Track>, AuthorError>;
}

/// A folder of fixtures, a project that holds one, or one fixture. Indexes count within each fixture.
#[derive(Debug, Clone)]
pub struct Fixtures {
    place: PathBuf,
}

impl Fixtures {
    /// At this place.
    #[must_use]
    pub fn at(place: &Path) -> Self {
        Self { place: place.to_owned() }
    }

    /// The files.
    ///
    /// # Errors
    /// There are none.
    pub fn files(&self) -> Result<Vec<PathBuf>, AuthorError> {
        if self.place.is_file() {
            return Ok(vec![self.place.clone()]);
        }
        let inner = self.place.join("fixtures");
        let folder = if inner.is_dir() { &inner } else { &self.place };
        let files = fixture::files(folder)?;
        if files.is_empty() { Err(AuthorError::NothingThere(self.place.clone())) } else { Ok(files) }
    }
}

impl EventSource for Fixtures {
    fn tracks(&self, to: Index) -> Result<Vec<Track>, AuthorError> {
        let mut tracks = Vec::new();
        for file in self.files()? {
            let mut track = Fixture::load(&file)?.track(&file)?;
            track.events.retain(|event| event.index < to);
            tracks.push(track);
        }
        Ok(tracks)
    }
}

/// Events of a log that were read already, by stream: what the export of a node is made into.
#[derive(Debug, Clone, Default)]
pub struct LogEvents {
    streams: BTreeMap<Stream, Vec<Arc<Event>>>,
    config: Vec<u8>,
}

impl LogEvents {
    /// These events, in the order of the log; control streams are left out, which no plugin hears. `config` is what
    /// `init` is given in every stream: canonical JSON.
    #[must_use]
    pub fn new(events: impl IntoIterator<Item = Arc<Event>>, config: &[u8]) -> Self {
        let mut streams: BTreeMap<Stream, Vec<Arc<Event>>> = BTreeMap::new();
        for event in events.into_iter().filter(|event| !event.stream.is_control()) {
            streams.entry(event.stream).or_default().push(event);
        }
        Self { streams, config: config.to_vec() }
    }
}

impl EventSource for LogEvents {
    fn tracks(&self, to: Index) -> Result<Vec<Track>, AuthorError> {
        let track = |(stream, events): (&Stream, &Vec<Arc<Event>>)| {
            let events: Vec<_> = events.iter().filter(|event| event.index < to).cloned().collect();
            let name = format!("{}/{}", stream.tenant, stream.store);
            (!events.is_empty()).then(|| Track { name, events, config: self.config.clone(), state: State::new() })
        };
        Ok(self.streams.iter().filter_map(track).collect())
    }
}

/// The export of a node's log: `genesis`, and events as stored runs in `log/`. Read, and not audited: `tally replay` does
/// that. What counts here is what a plugin makes of the events.
#[derive(Debug, Clone)]
pub struct Export {
    folder: PathBuf,
    config: Vec<u8>,
}

/// Runs of an export at most: more than a year of runs of 4,096 events.
const RUNS_MAX: usize = 1_000_000;

impl Export {
    /// The export in this folder, if it is one. `config` is what `init` is given in every stream: canonical JSON.
    #[must_use]
    pub fn at(folder: &Path, config: &[u8]) -> Option<Self> {
        let is_one = folder.join("genesis").is_file() && folder.join("log").is_dir();
        is_one.then(|| Self { folder: folder.to_owned(), config: config.to_vec() })
    }

    /// The ledger it is of: the ids that a guest derives hang on it.
    ///
    /// # Errors
    /// The genesis entry cannot be read, or is none.
    pub fn ledger(&self) -> Result<LedgerId, AuthorError> {
        let path = self.folder.join("genesis");
        let bytes = std::fs::read(&path).map_err(AuthorError::file("read", &path))?;
        match Entry::decode(&bytes) {
            Ok(Entry::Genesis(genesis)) => Ok(genesis.ledger_id()),
            _ => Err(AuthorError::Events(format!("{} is no genesis entry", path.display()))),
        }
    }

    fn runs(&self) -> Result<Vec<PathBuf>, AuthorError> {
        let folder = self.folder.join("log");
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(AuthorError::file("list", &folder))? {
            let path = entry.map_err(AuthorError::file("list", &folder))?.path();
            if path.extension().is_some_and(|ending| ending == "run") {
                runs.push(path);
            }
            if runs.len() > RUNS_MAX {
                return Err(AuthorError::Events(format!("{} holds more than {RUNS_MAX} runs", folder.display())));
            }
        }
        // Twenty digits each: in the order of the log.
        runs.sort();
        Ok(runs)
    }
}

impl EventSource for Export {
    fn tracks(&self, to: Index) -> Result<Vec<Track>, AuthorError> {
        let mut events = Vec::new();
        for path in self.runs()? {
            let bytes = std::fs::read(&path).map_err(AuthorError::file("read", &path))?;
            let run = StoredRun::decode(bytes.into())
                .map_err(|error| AuthorError::Events(format!("{} is no run: {error}", path.display())))?;
            events.extend(run.records().map(|record| Arc::new(event(&record))));
            if events.last().is_some_and(|event| event.index >= to) {
                break;
            }
        }
        LogEvents::new(events, &self.config).tracks(to)
    }
}

/// A record of the log as plugins get it.
fn event(record: &Record) -> Event {
    Event::logged(record.index, record.sequence, record.sequenced_at, &record.frame)
}
