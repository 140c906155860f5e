//! Where events come from: fixtures, or a log.
//!
//! Takes a place; gives [`Track`]s, one for each stream. The export of a node joins in as another [`EventSource`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tally_plugin_host::session::Event;
use tally_protocol::id::{Index, Stream};

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
