//! `application/x-www-form-urlencoded`, as the provider reads it: `name[member]` for what lies deeper.
//!
//! Takes names and values, gives the text. Brackets of names stay as they are; everything else but letters, digits and
//! `-._` is escaped byte by byte, so no value ends its own pair.

/// A form in the making.
#[derive(Debug, Default)]
pub(super) struct Form(String);

impl Form {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        escape(&mut self.0, name, b"-._[]");
        self.0.push('=');
        escape(&mut self.0, value, b"-._");
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn escape(out: &mut String, text: &str, plain: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::Url;

    use super::*;

    #[test]
    fn brackets_of_names_stay_and_those_of_values_do_not() {
        let form = Form::default().with("metadata[order]", "a[b]=c&d e+f").with("amount", "100");
        assert_eq!(form.finish(), "metadata[order]=a%5Bb%5D%3Dc%26d%20e%2Bf&amount=100");
    }

    proptest! {
        #[test]
        fn a_foreign_reader_reads_back_what_was_written(pairs in proptest::collection::vec((".{1,20}", ".{0,40}"), 1..6)) {
            let form = pairs.iter().fold(Form::default(), |form, (name, value)| form.with(name, value)).finish();
            let mut url: Url = "http://x/".parse().unwrap();
            url.set_query(Some(&form));
            let read: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
