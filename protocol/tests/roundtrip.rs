//! Numbers survive being stored: replaying events must give the very same state, so the JSON reader
//! has to give back the float that was written (`float_roundtrip`).

use protocol::units::Number;

#[test]
fn every_float_reads_back_as_it_was_written() {
    // The reader's fast path is one unit in the last place off for this one.
    for value in [0.961_402_630_006_836_5, 0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0] {
        let number = Number::new(value).unwrap();
        let json = serde_json::to_string(&number).unwrap();
        assert_eq!(serde_json::from_str::<Number>(&json).unwrap(), number, "{json}");
    }
}
