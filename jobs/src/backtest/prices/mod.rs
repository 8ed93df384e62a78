//! Prices from CSV. A **bar** is one row with a time and a price; a series has either an open and a
//! close for each bar or one single price.
//!
//! Real price files have holes: a row whose price is missing (an empty field, `.`, `NA` ...) is left
//! out and counted. Everything else that is wrong is refused with its row and column: a wrong
//! backtest is worse than none.

use jiff::civil::{Date, DateTime};
use protocol::units::Timestamp;

/// How a missing price is written; `.` is what FRED uses.
const MISSING: [&str; 8] = ["", ".", "-", "NA", "N/A", "n/a", "null", "NULL"];

/// Names of the time column, lower case; pandas leaves the name of its index empty.
const TIME_NAMES: [&str; 8] =
    ["date", "datetime", "time", "timestamp", "observation_date", "day", "unnamed: 0", ""];

/// What is wrong with a price file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PriceError {
    /// There is nothing in it.
    #[error("the file is empty; a header line and rows of time and price are needed")]
    Empty,
    /// The bytes are not CSV in UTF-8.
    #[error("the file is not CSV: {0}")]
    NotCsv(String),
    /// A column that was named is not there.
    #[error("column {wanted:?} is missing; the columns are {}", present.join(", "))]
    ColumnMissing {
        /// The column.
        wanted: String,
        /// The header.
        present: Vec<String>,
    },
    /// No column looks like a time.
    #[error("no column is a time; name it as data.time_column (the columns are {})", .0.join(", "))]
    NoTimeColumn(Vec<String>),
    /// Several columns could be the price, or none.
    #[error("cannot tell which column is the price; name it as data.target (the candidates are {})", .0.join(", "))]
    PriceColumnUnclear(Vec<String>),
    /// A time cannot be read.
    #[error("row {row}, column {column:?}: {value:?} is not a time as {expected}")]
    BadTime {
        /// The line of the file, counted from 1.
        row: u64,
        /// The column.
        column: String,
        /// What stands there.
        value: String,
        /// What the first row made expected.
        expected: &'static str,
    },
    /// A price cannot be read.
    #[error("row {row}, column {column:?}: {value:?} is not a number")]
    NotANumber {
        /// The line of the file, counted from 1.
        row: u64,
        /// The column.
        column: String,
        /// What stands there.
        value: String,
    },
    /// A price is NaN or infinite.
    #[error("row {row}, column {column:?}: {value:?} is not a finite number")]
    NotFinite {
        /// The line of the file, counted from 1.
        row: u64,
        /// The column.
        column: String,
        /// What stands there.
        value: String,
    },
    /// A time is the same as the one before it.
    #[error("row {row}: {time} is there twice; each bar needs its own time")]
    DuplicateTime {
        /// The line of the file, counted from 1.
        row: u64,
        /// The time.
        time: String,
    },
    /// A time is before the one before it.
    #[error("row {row}: {time} comes after {previous}; sort the rows by time, oldest first")]
    Unsorted {
        /// The line of the file, counted from 1.
        row: u64,
        /// The time.
        time: String,
        /// The time before it.
        previous: String,
    },
    /// There are fewer bars than the strategy needs.
    #[error(
        "{bars} bars are too few; this strategy needs at least {needed} ({missing} rows without a price were left out)"
    )]
    TooFewBars {
        /// Bars in the file.
        bars: usize,
        /// Bars that are needed.
        needed: usize,
        /// Rows that were left out.
        missing: usize,
    },
}

/// A price series.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// The time of each bar, ascending.
    pub times: Vec<Timestamp>,
    /// The open of each bar; none for a series of single prices.
    pub opens: Option<Vec<f64>>,
    /// The close of each bar, or its single price.
    pub closes: Vec<f64>,
    /// The name of the time column.
    pub time_column: String,
    /// The name of the column of closes.
    pub price_column: String,
    /// Times of the rows that were left out because a price is missing.
    pub missing: Vec<Timestamp>,
    /// Whether the times have a time of day.
    pub intraday: bool,
}

impl Prices {
    /// How many bars there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.closes.len()
    }

    /// Whether there is no bar.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.closes.is_empty()
    }

    /// Bars whose price is zero or negative; nothing can be traded there.
    #[must_use]
    pub fn untradable(&self) -> Vec<usize> {
        (0..self.len()).filter(|&bar| self.closes[bar] <= 0.0).collect()
    }

    /// A bar's time as text: the date, and the time of day where the series has any.
    #[must_use]
    pub fn time_text(&self, bar: usize) -> String {
        self.times.get(bar).map(|time| time_text(*time, self.intraday)).unwrap_or_default()
    }
}

/// A time as text: the date, and the time of day if wanted.
#[must_use]
pub fn time_text(time: Timestamp, intraday: bool) -> String {
    let text = time.to_string();
    if intraday { text.replace(".000Z", "Z") } else { text.chars().take(10).collect() }
}

/// Reads a series. `time_column` and `price_column` name the columns; absent, they are found.
pub fn read(
    bytes: &[u8],
    time_column: Option<&str>,
    price_column: Option<&str>,
) -> Result<Prices, PriceError> {
    let not_csv = |error: csv::Error| PriceError::NotCsv(error.to_string());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header: Vec<String> = reader.headers().map_err(not_csv)?.iter().map(str::to_owned).collect();
    if header.is_empty() {
        return Err(PriceError::Empty);
    }
    let mut record = csv::StringRecord::new();
    if !reader.read_record(&mut record).map_err(not_csv)? {
        return Err(PriceError::Empty);
    }
    let columns = Columns::find(&header, &record, time_column, price_column)?;
    let first_time = record.get(columns.time).unwrap_or_default();
    let format = TimeFormat::of(first_time).ok_or_else(|| PriceError::BadTime {
        row: line(&record),
        column: header[columns.time].clone(),
        value: shown(first_time),
        expected: "YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, M/D/YYYY or Unix seconds",
    })?;

    let mut prices = Prices {
        times: Vec::new(),
        opens: columns.open.map(|_| Vec::new()),
        closes: Vec::new(),
        time_column: header[columns.time].clone(),
        price_column: header[columns.close].clone(),
        missing: Vec::new(),
        intraday: false,
    };
    let mut previous: Option<Timestamp> = None;
    loop {
        let text = record.get(columns.time).unwrap_or_default();
        let time = format.parse(text).ok_or_else(|| PriceError::BadTime {
            row: line(&record),
            column: header[columns.time].clone(),
            value: shown(text),
            expected: format.expected(),
        })?;
        check_order(previous, time, line(&record))?;
        previous = Some(time);
        prices.intraday |= time.as_millis().rem_euclid(86_400_000) != 0;

        let close = price(&record, columns.close, &header)?;
        let open = columns.open.map(|column| price(&record, column, &header)).transpose()?;
        match (close, open) {
            (Some(close), Some(Some(open))) => {
                prices.times.push(time);
                prices.closes.push(close);
                if let Some(opens) = &mut prices.opens {
                    opens.push(open);
                }
            }
            (Some(close), None) => {
                prices.times.push(time);
                prices.closes.push(close);
            }
            _ => prices.missing.push(time),
        }
        if !reader.read_record(&mut record).map_err(not_csv)? {
            return Ok(prices);
        }
    }
}

/// Where the columns are.
struct Columns {
    time: usize,
    open: Option<usize>,
    close: usize,
}

impl Columns {
    fn find(
        header: &[String],
        first: &csv::StringRecord,
        time_column: Option<&str>,
        price_column: Option<&str>,
    ) -> Result<Self, PriceError> {
        let named = |wanted: &str| {
            let exact = header.iter().position(|name| name == wanted);
            exact.or_else(|| header.iter().position(|name| name.eq_ignore_ascii_case(wanted))).ok_or_else(
                || PriceError::ColumnMissing {
                    wanted: shown(wanted),
                    present: header.iter().take(50).map(|name| shown(name)).collect(),
                },
            )
        };
        let looks_like_time =
            |column: usize| first.get(column).is_some_and(|text| TimeFormat::of(text).is_some());
        let time = match time_column {
            Some(name) => named(name)?,
            None => header
                .iter()
                .position(|name| TIME_NAMES.contains(&name.to_lowercase().as_str()))
                .or_else(|| (0..1).find(|&column| looks_like_time(column)))
                .ok_or_else(|| {
                    PriceError::NoTimeColumn(header.iter().take(50).map(|name| shown(name)).collect())
                })?,
        };
        let by_name = |wanted: &str| header.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let close = match price_column {
            Some(name) => named(name)?,
            None => match by_name("close") {
                Some(close) => close,
                None => {
                    let others: Vec<usize> = (0..header.len()).filter(|&column| column != time).collect();
                    match others.as_slice() {
                        [only] => *only,
                        several => {
                            return Err(PriceError::PriceColumnUnclear(
                                several.iter().take(50).map(|&column| shown(&header[column])).collect(),
                            ));
                        }
                    }
                }
            },
        };
        // An open belongs to the close only: next to an adjusted close it would be another scale.
        let open = if by_name("close") == Some(close) { by_name("open") } else { None };
        Ok(Self { time, open, close })
    }
}

/// How a file writes its times; the first row decides, so that one file never mixes two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeFormat {
    /// ISO 8601, with or without a time of day, without a zone (taken as UTC).
    Iso,
    /// ISO 8601 with a zone.
    IsoZoned,
    /// `M/D/YYYY`, with or without a time of day.
    American,
    /// Seconds since the Unix epoch.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
}

impl TimeFormat {
    fn of(text: &str) -> Option<Self> {
        [Self::Iso, Self::IsoZoned, Self::American, Self::UnixSeconds, Self::UnixMillis]
            .into_iter()
            .find(|format| format.parse(text).is_some())
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Iso => "YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, as in the first row",
            Self::IsoZoned => "YYYY-MM-DDTHH:MM:SSZ, as in the first row",
            Self::American => "M/D/YYYY, as in the first row",
            Self::UnixSeconds => "Unix seconds, as in the first row",
            Self::UnixMillis => "Unix milliseconds, as in the first row",
        }
    }

    fn parse(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Iso => {
                // A zone would be dropped without a word by the civil parser.
                let time_of_day = text.get(10..).unwrap_or_default();
                if time_of_day.contains(['Z', 'z', '+', '-', '[']) {
                    return None;
                }
                let date_first = text.as_bytes().get(4) == Some(&b'-');
                date_first.then(|| text.parse::<DateTime>().ok()).flatten().and_then(from_civil)
            }
            Self::IsoZoned => text.contains('-').then(|| text.parse().ok()).flatten(),
            Self::American => american(text).and_then(from_civil),
            Self::UnixSeconds => unix(text, 9..=11).map(|seconds| Timestamp::from_millis(seconds * 1000)),
            Self::UnixMillis => unix(text, 12..=14).map(Timestamp::from_millis),
        }
    }
}

fn unix(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let plain = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn american(text: &str) -> Option<DateTime> {
    let (date, time_of_day) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = date.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    if time_of_day.is_empty() {
        return Some(date.at(0, 0, 0, 0));
    }
    Some(date.to_datetime(time_of_day.parse().ok()?))
}

fn from_civil(time: DateTime) -> Option<Timestamp> {
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

fn check_order(previous: Option<Timestamp>, time: Timestamp, row: u64) -> Result<(), PriceError> {
    let Some(previous) = previous else { return Ok(()) };
    match time.cmp(&previous) {
        std::cmp::Ordering::Greater => Ok(()),
        std::cmp::Ordering::Equal => Err(PriceError::DuplicateTime { row, time: time_text(time, true) }),
        std::cmp::Ordering::Less => Err(PriceError::Unsorted {
            row,
            time: time_text(time, true),
            previous: time_text(previous, true),
        }),
    }
}

/// The price in one field; `None` when it is missing.
fn price(record: &csv::StringRecord, column: usize, header: &[String]) -> Result<Option<f64>, PriceError> {
    let text = record.get(column).unwrap_or_default();
    if MISSING.contains(&text) {
        return Ok(None);
    }
    let place =
        || (line(record), header.get(column).map(|name| shown(name)).unwrap_or_default(), shown(text));
    match text.parse::<f64>() {
        Ok(price) if price.is_finite() => Ok(Some(price)),
        Ok(_) => {
            let (row, column, value) = place();
            Err(PriceError::NotFinite { row, column, value })
        }
        Err(_) => {
            let (row, column, value) = place();
            Err(PriceError::NotANumber { row, column, value })
        }
    }
}

fn line(record: &csv::StringRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

/// A foreign text, cut so that an error message stays one.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests;
