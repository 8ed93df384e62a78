//! Recordings that something went wrong with: cut off, with lines lost, repeated or swapped, with bytes
//! that do not belong there.

use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Debug, Clone)]
enum Fault {
    Cut(Index),
    Lose(Index, usize),
    Repeat(Index, usize),
    Change(Index, u8),
    Insert(Index, Vec<u8>),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        any::<Index>().prop_map(Fault::Cut),
        (any::<Index>(), 1..200_usize).prop_map(|(at, length)| Fault::Lose(at, length)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, length)| Fault::Repeat(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Fault::Change(at, byte)),
        (any::<Index>(), "[0-9a-z/.:,()\"{}\\[\\]\n é-]{1,12}")
            .prop_map(|(at, text)| Fault::Insert(at, text.into_bytes())),
    ]
}

fn apply(bytes: &mut Vec<u8>, fault: Fault) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match fault {
        Fault::Cut(at) => bytes.truncate(at.index(length)),
        Fault::Lose(at, count) => {
            let start = at.index(length);
            bytes.drain(start..length.min(start + count));
        }
        Fault::Repeat(at, count) => {
            let start = at.index(length);
            let piece = bytes[start..length.min(start + count)].to_vec();
            bytes.splice(start..start, piece);
        }
        Fault::Change(at, byte) => bytes[at.index(length)] = byte,
        Fault::Insert(at, piece) => {
            let start = at.index(length);
            bytes.splice(start..start, piece);
        }
    }
}

/// One of these recordings with a few faults.
pub fn mutated(recordings: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(recordings), prop::collection::vec(fault(), 0..4)).prop_map(
        |(mut bytes, faults)| {
            for fault in faults {
                apply(&mut bytes, fault);
            }
            bytes
        },
    )
}
