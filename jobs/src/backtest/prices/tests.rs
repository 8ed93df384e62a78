use proptest::prelude::*;

use super::*;

fn found(text: &str) -> Prices {
    read(text.as_bytes(), None, None).unwrap()
}

fn refused(text: &str) -> String {
    read(text.as_bytes(), None, None).unwrap_err().to_string()
}

#[test]
fn columns_are_found_by_name_and_by_shape() {
    let one = found("Date,DCOILWTICO\n1/2/1986,25.56\n1/3/1986,26\n");
    assert_eq!(
        (one.time_column.as_str(), one.price_column.as_str(), one.opens.is_none()),
        ("Date", "DCOILWTICO", true)
    );
    assert_eq!(one.time_text(1), "1986-01-03");
    let ohlc =
        found("\u{feff}Timestamp,Open,High,Low,CLOSE,Volume\n2024-01-02,1,3,1,2,9\n2024-01-03,2,3,1,3,9\n");
    assert_eq!((ohlc.opens, ohlc.closes), (Some(vec![1.0, 2.0]), vec![2.0, 3.0]));
    let pandas = found(",Open,Close\n2024-01-02,1,2\n");
    assert_eq!(pandas.closes, [2.0]);
    let unnamed = found("when,price\n2024-01-02,1\n");
    assert_eq!(unnamed.time_column, "when");
}

#[test]
fn a_named_column_wins_and_an_open_stays_with_its_close() {
    let text = "d,Open,Close,Adj Close\n2024-01-02,1,2,0.5\n2024-01-03,1,2,0.6\n";
    let adjusted = read(text.as_bytes(), Some("d"), Some("adj close")).unwrap();
    assert_eq!((adjusted.closes, adjusted.opens), (vec![0.5, 0.6], None));
    let close = read(text.as_bytes(), Some("d"), Some("Close")).unwrap();
    assert_eq!(close.opens, Some(vec![1.0, 1.0]));
    let error = read(text.as_bytes(), None, Some("Last")).unwrap_err().to_string();
    assert_eq!(error, "column \"Last\" is missing; the columns are d, Open, Close, Adj Close");
}

#[test]
fn times_are_read_in_the_form_of_the_first_row() {
    assert_eq!(
        found("date,p\n2024-01-02 09:30,1\n2024-01-02 09:31:30,1\n").time_text(1),
        "2024-01-02T09:31:30Z"
    );
    assert_eq!(found("date,p\n2024-01-02T09:30:00+02:00,1\n").time_text(0), "2024-01-02T07:30:00Z");
    assert_eq!(found("date,p\n12/31/1999 16:00,1\n").time_text(0), "1999-12-31T16:00:00Z");
    assert_eq!(found("date,p\n1700000000,1\n").time_text(0), "2023-11-14T22:13:20Z");
    assert_eq!(found("date,p\n1700000000000,1\n").time_text(0), "2023-11-14T22:13:20Z");
    assert_eq!(
        refused("date,p\n1/12/2024,1\n1/13/2024,1\n14/1/2024,1\n"),
        "row 4, column \"date\": \"14/1/2024\" is not a time as M/D/YYYY, as in the first row"
    );
    assert!(refused("date,p\n31/12/2024,1\n").contains("YYYY-MM-DD"));
    assert!(refused("date,p\n2024-01-02,1\n1/3/2024,1\n").contains("as in the first row"));
}

#[test]
fn missing_prices_are_left_out_and_counted() {
    let prices = found("Date,Open,Close\n2024-01-01,1,.\n2024-01-02,,2\n2024-01-03,3,4\n2024-01-04,NA,NA\n");
    assert_eq!(prices.closes, [4.0]);
    assert_eq!(prices.missing.len(), 3);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert_eq!(refused(""), PriceError::Empty.to_string());
    assert_eq!(refused("date,price\n"), PriceError::Empty.to_string());
    assert_eq!(refused("date,p\n2024-01-01,1,5\n").split(':').next().unwrap(), "the file is not CSV");
    assert_eq!(
        refused("date,p\n2024-01-01,1\n2024-01-02,abc\n"),
        "row 3, column \"p\": \"abc\" is not a number"
    );
    assert_eq!(refused("date,p\n2024-01-01,NaN\n"), "row 2, column \"p\": \"NaN\" is not a finite number");
    assert_eq!(refused("date,p\n2024-01-01,inf\n"), "row 2, column \"p\": \"inf\" is not a finite number");
    assert_eq!(
        refused("date,p\n2024-01-01,1e999\n"),
        "row 2, column \"p\": \"1e999\" is not a finite number"
    );
    assert!(
        refused("date,p\n2024-01-02,1\n2024-01-02,1\n")
            .contains("row 3: 2024-01-02T00:00:00Z is there twice")
    );
    assert!(refused("date,p\n2024-01-02,1\n2024-01-01,1\n").contains("sort the rows by time, oldest first"));
    assert!(refused("date,bid,ask\n2024-01-02,1,2\n").contains("the candidates are bid, ask"));
    assert!(refused("price\n5\n").contains("no column is a time"));
    let binary = read(b"date,p\n\xff\xfe,1\n", None, None).unwrap_err();
    assert!(matches!(binary, PriceError::NotCsv(_)));
}

#[test]
fn prices_below_zero_are_kept_and_known() {
    let prices = found("date,p\n2020-04-20,-36.98\n2020-04-21,8.91\n");
    assert_eq!(prices.untradable(), [0]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, None, None);
    }

    #[test]
    fn no_field_makes_it_panic(time in "\\PC{0,24}", value in "\\PC{0,12}") {
        let _ = read(format!("date,p\n{time},{value}\n").as_bytes(), None, None);
    }

    #[test]
    fn what_is_written_is_read(closes in prop::collection::vec(-100.0..1e6f64, 1..60)) {
        let mut text = String::from("date,price\n");
        for (day, close) in closes.iter().enumerate() {
            text.push_str(&format!("{},{close}\n", 1_000_000_000 + day * 86_400));
        }
        let prices = found(&text);
        prop_assert_eq!(prices.closes, closes);
        prop_assert!(prices.times.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
