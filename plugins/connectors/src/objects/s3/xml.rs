//! The few words that are read out of S3's XML: an error's code, and whether a bucket is public.
//!
//! Takes a document and an element's name; gives its text only if the element is there exactly once, without attributes and
//! with nothing but text in it. Everything else is nothing, which every caller takes for the worse.

/// The text of the one element of this name.
pub(super) fn text_of<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (opening, closing) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = document.split_once(&opening)?;
    let (text, rest) = rest.split_once(&closing)?;
    let alone = !text.contains('<') && !rest.contains(&opening) && !rest.contains(&closing);
    alone.then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_element_has_a_text() {
        assert_eq!(text_of("<?xml?><Error><Code>NoSuchKey</Code></Error>", "Code"), Some("NoSuchKey"));
        for none in [
            "",
            "<Code>",
            "<Code>a",
            "a</Code>",
            "<Code><b/></Code>",
            "<Code>a</Code><Code>b</Code>",
            "<Code x=''>a</Code>",
        ] {
            assert_eq!(text_of(none, "Code"), None, "{none}");
        }
    }
}
