//! Differences for people: of texts line by line, of states key by key.

use core::fmt::Write as _;

use serde::Serialize;

use crate::play::State;
use crate::shown::{short, shown};

/// Lines of a text beyond which it is not compared but shown.
const LINES_MAX: usize = 400;
/// Characters of a value in a report.
const VALUE_CHARS_MAX: usize = 120;

/// What to take away from the first text and add to get the second: lines with `-`, `+` or a space before them, unchanged
/// lines only beside changed ones.
#[must_use]
pub fn lines(expected: &str, found: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    if left.len() > LINES_MAX || right.len() > LINES_MAX {
        return format!("  (expected {} lines, found {} lines; too long to compare)\n", left.len(), right.len());
    }
    let marked = mark(&left, &right);
    let near = |at: usize| {
        let around = marked.get(at.saturating_sub(2)..(at + 3).min(marked.len())).unwrap_or_default();
        around.iter().any(|(mark, _)| *mark != ' ')
    };
    let mut text = String::new();
    for (at, (mark, line)) in marked.iter().enumerate() {
        if near(at) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{mark} {line}");
        }
    }
    text
}

/// The longest common lines, by the table of their lengths.
fn mark<'t>(left: &[&'t str], right: &[&'t str]) -> Vec<(char, &'t str)> {
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for (i, l) in left.iter().enumerate().rev() {
        for (j, r) in right.iter().enumerate().rev() {
            common[i][j] = if l == r { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut marked) = (0, 0, Vec::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            marked.push((' ', left[i]));
            (i, j) = (i + 1, j + 1);
        } else if j >= right.len() || (i < left.len() && common[i + 1][j] >= common[i][j + 1]) {
            marked.push(('-', left[i]));
            i += 1;
        } else {
            marked.push(('+', right[j]));
            j += 1;
        }
    }
    marked
}

/// A key that differs between two states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// The key, shown.
    pub key: String,
    /// Its value before, shown.
    pub before: Option<String>,
    /// Its value after, shown.
    pub after: Option<String>,
}

impl core::fmt::Display for KeyChange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let cut = |text: &Option<String>| text.as_deref().map_or_else(String::new, |t| short(t, VALUE_CHARS_MAX));
        match (&self.before, &self.after) {
            (None, after) => write!(f, "+ {} = {}", self.key, cut(after)),
            (before, None) => write!(f, "- {} = {}", self.key, cut(before)),
            (before, after) => write!(f, "~ {} = {} -> {}", self.key, cut(before), cut(after)),
        }
    }
}

/// The keys that differ between two states, in order.
#[must_use]
pub fn states(before: &State, after: &State) -> Vec<KeyChange> {
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let change = |key: &bytes::Bytes| {
        let (before, after) = (before.get(key), after.get(key));
        let shown_value = |value: Option<&bytes::Bytes>| value.map(|value| shown(value));
        (before != after).then(|| KeyChange { key: shown(key), before: shown_value(before), after: shown_value(after) })
    };
    keys.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_its_neighbours() {
        let text = lines("a\nb\nc\nd\ne\nf\ng", "a\nb\nc\nX\ne\nf\ng");
        assert_eq!(text, "  b\n  c\n- d\n+ X\n  e\n  f\n");
        assert_eq!(lines("a\nb", "a\nb"), "");
    }

    #[test]
    fn states_differ_by_key() {
        let state = |rows: &[(&'static str, &'static str)]| -> State {
            rows.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        let changes =
            states(&state(&[("a", "1"), ("b", "2"), ("c", "3")]), &state(&[("b", "2"), ("c", "4"), ("d", "5")]));
        let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["- a = 1", "~ c = 3 -> 4", "+ d = 5"]);
    }
}
