//! Reading server-sent events: bytes in, the data of each event out, never more than a limit in memory.

use crate::link::LinkError;

/// Splits a stream of bytes into events. Only their data is kept; names, ids and comments are skipped.
#[derive(Debug)]
pub(super) struct EventReader {
    limit: usize,
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return, so a line feed belongs to it.
    after_return: bool,
}

impl EventReader {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), data: Vec::new(), has_data: false, after_return: false }
    }

    /// Takes the next bytes and returns the data of the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, LinkError> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(position) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = rest.split_at(position);
            let is_return = tail.first() == Some(&b'\r');
            let belongs_to_return =
                self.after_return && head.is_empty() && self.line.is_empty() && !is_return;
            if !belongs_to_return {
                self.grow(head)?;
                self.end_line(&mut events)?;
            }
            self.after_return = is_return;
            rest = tail.get(1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.after_return = false;
            self.grow(rest)?;
        }
        Ok(events)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        if !bytes.is_empty() {
            self.after_return = false;
        }
        // A line has a field name on top of its data.
        if self.line.len().saturating_add(bytes.len()) > self.limit.saturating_add(64) {
            return Err(LinkError::TooLarge { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) -> Result<(), LinkError> {
        if self.line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(std::mem::take(&mut self.data));
            }
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        let value = match line.strip_prefix(b"data:") {
            Some(value) => value.strip_prefix(b" ").unwrap_or(value),
            None if line == b"data" => b"",
            None => return Ok(()),
        };
        if self.data.len().saturating_add(value.len()) > self.limit {
            return Err(LinkError::TooLarge { limit: self.limit });
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]], limit: usize) -> Result<Vec<String>, LinkError> {
        let mut reader = EventReader::new(limit);
        let mut events = Vec::new();
        for chunk in chunks {
            for event in reader.push(chunk)? {
                events.push(String::from_utf8_lossy(&event).into_owned());
            }
        }
        Ok(events)
    }

    #[test]
    fn events_end_with_an_empty_line_of_any_kind() {
        for end in ["\n", "\r\n", "\r"] {
            let text = [": hi", "id: 1", "data: a", "data:b", "data", "", "event: x", "", "data: c", "", ""]
                .join(end);
            assert_eq!(read(&[text.as_bytes()], 99).unwrap(), ["a\nb\n", "c"], "{end:?}");
        }
    }

    #[test]
    fn the_last_event_needs_its_empty_line() {
        assert_eq!(read(&[b"data: a\n"], 99).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn no_event_and_no_line_grows_beyond_the_limit() {
        let too_large = Err(LinkError::TooLarge { limit: 10 });
        assert_eq!(read(&[b"data: ", &[b'x'; 11], b"\n\n"], 10), too_large);
        assert_eq!(read(&[b"data: 12345\ndata: 123456\n\n"], 10), too_large);
        assert_eq!(read(&[&[b':'; 100]], 10), too_large);
        assert!(read(&[b"data: 1234567890\n\n"], 10).is_ok());
    }

    proptest! {
        /// However the network cuts the bytes, the events are the same.
        #[test]
        fn chunking_changes_nothing(
            text in prop::collection::vec(prop_oneof![
                Just("data: {\"a\":1}".to_owned()), Just("data".to_owned()), Just(": c".to_owned()),
                Just("\n".to_owned()), Just("\r".to_owned()), Just("\r\n".to_owned()), "[a-z:]{0,4}",
            ], 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = text.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut start = 0;
            for cut in cuts {
                chunks.push(&bytes[start..cut]);
                start = cut;
            }
            chunks.push(&bytes[start..]);
            prop_assert_eq!(read(&chunks, 1000).unwrap(), read(&[&bytes], 1000).unwrap());
        }
    }
}
