//! The little of Markdown that the rules need: links, headings, code spans, table rows.
//!
//! Takes a page; gives its parts with line numbers from 1. Fenced blocks are skipped. Nothing fails.

/// A page without its fenced blocks: those lines are empty.
#[must_use]
pub fn prose(page: &str) -> Vec<String> {
    let mut fenced = false;
    let line = |line: &str| {
        let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        let hidden = fence || fenced;
        fenced ^= fence;
        if hidden { String::new() } else { line.to_owned() }
    };
    page.lines().map(line).collect()
}

/// The targets of inline links and link definitions.
#[must_use]
pub fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(page).iter().enumerate() {
        let line = without_code(line);
        for (at, _) in line.match_indices("](") {
            let target: String = line[at + 2..].chars().take_while(|c| *c != ')' && *c != ' ').collect();
            found.push((number + 1, target.trim_matches(['<', '>']).to_owned()));
        }
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push((number + 1, target.trim().to_owned()));
        }
    }
    found
}

/// The anchors a page offers, made the way forges make them from headings.
#[must_use]
pub fn anchors(page: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for line in prose(page) {
        let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) else { continue };
        let letters = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = letters.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect();
        let twins = anchors.iter().filter(|anchor| **anchor == slug).count();
        anchors.push(if twins == 0 { slug } else { format!("{slug}-{twins}") });
    }
    anchors
}

/// The code spans of a line, without their backticks.
#[must_use]
pub fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The cells of a table's row, or nothing if the line is none or is the rule under the head.
#[must_use]
pub fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    let rule = cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':')));
    (!rule).then_some(cells)
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_do_not_count() {
        let page = "[a](x.md#y) and `[b](no.md)`\n```\n[c](no.md)\n```\n[d]: z.md\n";
        assert_eq!(links(page), [(1, "x.md#y".to_owned()), (5, "z.md".to_owned())]);
    }

    #[test]
    fn anchors_are_slugs() {
        assert_eq!(anchors("# Two words\n## It's `x` & y\n## Two words\n"), ["two-words", "its-x--y", "two-words-1"]);
    }

    #[test]
    fn rows_have_cells() {
        assert_eq!(cells("| a | `b` |"), Some(vec!["a", "`b`"]));
        assert_eq!(cells("|---|:--|"), None);
        assert_eq!(cells("text"), None);
        assert_eq!(code_spans("x `a` y `b::c`"), ["a", "b::c"]);
    }
}
