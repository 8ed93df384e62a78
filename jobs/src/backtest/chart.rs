//! The chart: equity above, drawdown below, over one time axis. It has its own background, so that it
//! reads the same on a light and on a dark page.

use jiff::civil::{Date, DateTime};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, KeyPointWeight, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::{
    AreaSeries, ChartBuilder, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, PathElement, RGBColor,
    SVGBackend, SeriesLabelPosition, Text,
};
use plotters::style::{Color, ShapeStyle};
use protocol::units::Timestamp;

use super::{Outcome, strategy};
use crate::report::JobError;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 600;
/// Points that a line has at most in one panel: two for each pixel column.
const COLUMNS: usize = 800;

const BACKGROUND: RGBColor = RGBColor(250, 250, 252);
const INK: RGBColor = RGBColor(40, 44, 52);
const GRID: RGBColor = RGBColor(222, 225, 230);
const EQUITY: RGBColor = RGBColor(20, 99, 190);
const BENCHMARK: RGBColor = RGBColor(150, 155, 165);
const DRAWDOWN: RGBColor = RGBColor(190, 50, 50);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The chart as SVG.
pub(super) fn draw(outcome: &Outcome<'_>) -> Result<String, JobError> {
    let mut svg = String::new();
    paint(outcome, &mut svg).map_err(|error| JobError::Chart(error.to_string()))?;
    Ok(svg)
}

fn paint(outcome: &Outcome<'_>, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&BACKGROUND)?;
    let title = format!(
        "{} on {}, {} to {}",
        strategy::describe(&outcome.spec.strategy),
        outcome.prices.price_column,
        outcome.prices.time_text(0),
        outcome.prices.time_text(outcome.prices.len().saturating_sub(1)),
    );
    root.draw(&Text::new(title, (24, 14), ("sans-serif", 20).into_font().color(&INK)))?;
    let (_, body) = root.split_vertically(40);
    let (upper, lower) = body.split_vertically(340);
    equity_panel(outcome, &upper)?;
    drawdown_panel(outcome, &lower)?;
    root.present()?;
    Ok(())
}

fn equity_panel(outcome: &Outcome<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let own = thin(&outcome.prices.times, &outcome.run.equity);
    let held = thin(&outcome.prices.times, &outcome.benchmark);
    let highest = own.iter().chain(&held).map(|point| point.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .margin_left(14)
        .margin_right(24)
        .x_label_area_size(8)
        .y_label_area_size(84)
        .build_cartesian_2d(TimeAxis::over(&outcome.prices.times), 0.0..highest * 1.2)?;
    chart
        .configure_mesh()
        .axis_style(GRID)
        .bold_line_style(GRID)
        .light_line_style(BACKGROUND)
        .x_labels(8)
        .x_label_formatter(&|_| String::new())
        .y_labels(7)
        .y_label_formatter(&|value| grouped(*value))
        .y_desc("Equity")
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    let legend =
        |colour: RGBColor| move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
    chart
        .draw_series(LineSeries::new(held, ShapeStyle::from(BENCHMARK).stroke_width(1)))?
        .label("buy and hold")
        .legend(legend(BENCHMARK));
    chart
        .draw_series(LineSeries::new(own, ShapeStyle::from(EQUITY).stroke_width(2)))?
        .label(strategy::describe(&outcome.spec.strategy))
        .legend(legend(EQUITY));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(BACKGROUND.mix(0.9))
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

fn drawdown_panel(outcome: &Outcome<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let points = thin(&outcome.prices.times, &outcome.drawdowns);
    let deepest = points.iter().map(|point| point.1).fold(-0.01, f64::min);
    let mut chart = ChartBuilder::on(panel)
        .margin_left(14)
        .margin_right(24)
        .margin_bottom(8)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(TimeAxis::over(&outcome.prices.times), deepest * 1.05..0.0)?;
    chart
        .configure_mesh()
        .axis_style(GRID)
        .bold_line_style(GRID)
        .light_line_style(BACKGROUND)
        .x_labels(8)
        .x_desc("Time (UTC)")
        .y_labels(5)
        .y_label_formatter(&|share| percent(*share))
        .y_desc("Drawdown")
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    chart.draw_series(
        AreaSeries::new(points, 0.0, DRAWDOWN.mix(0.25))
            .border_style(ShapeStyle::from(DRAWDOWN).stroke_width(1)),
    )?;
    Ok(())
}

/// Time in milliseconds, with its marks where the calendar turns.
struct TimeAxis {
    first: f64,
    last: f64,
    marks: Vec<f64>,
    label_length: usize,
}

impl TimeAxis {
    fn over(times: &[Timestamp]) -> Self {
        let at = |time: Option<&Timestamp>| time.map_or(0.0, |time| time.as_millis() as f64);
        let first = at(times.first());
        let last = at(times.last()).max(first + 1.0);
        let (marks, label_length) = ticks(first, last);
        Self { first, last, marks, label_length }
    }
}

impl Ranged for TimeAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.first) / (self.last - self.first);
        #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
        let offset = (f64::from(limit.1 - limit.0) * share).round() as i32;
        limit.0 + offset
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight() {
            KeyPointWeight::Bold => self.marks.clone(),
            KeyPointWeight::Any => Vec::new(),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.first..self.last
    }
}

impl ValueFormatter<f64> for TimeAxis {
    fn format_ext(&self, value: &f64) -> String {
        time_label(*value, self.label_length)
    }
}

/// At most two points for each pixel column, the lowest and the highest in it, so that a million bars
/// give a chart of a readable size that still shows every extreme.
fn thin(times: &[Timestamp], values: &[f64]) -> Vec<(f64, f64)> {
    let point = |bar: usize| (times[bar].as_millis() as f64, values[bar]);
    let bars = values.len();
    if bars <= 2 * COLUMNS {
        return (0..bars).map(point).collect();
    }
    let mut points = Vec::with_capacity(2 * COLUMNS + 2);
    for column in 0..COLUMNS {
        let range = column * bars / COLUMNS..(column + 1) * bars / COLUMNS;
        let lowest = range.clone().min_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(range.start);
        let highest = range.clone().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(range.start);
        points.push(point(lowest.min(highest)));
        if lowest != highest {
            points.push(point(lowest.max(highest)));
        }
    }
    points
}

/// Times to mark on the axis, about eight, all at the start of a year, month, day or hour; and how much
/// of such a time's text is worth showing.
fn ticks(first: f64, last: f64) -> (Vec<f64>, usize) {
    const YEAR: f64 = 365.25 * 86_400_000.0;
    const MONTHS: [(f64, i32); 3] = [(1.0 / 12.0, 1), (0.25, 3), (0.5, 6)];
    const YEARS: [i32; 6] = [1, 2, 5, 10, 20, 50];
    const HOURS: [i32; 9] = [1, 3, 6, 12, 24, 48, 96, 168, 336];
    let span = (last - first) / YEAR;
    if let Some(step) = YEARS.into_iter().find(|step| span / f64::from(*step) <= 9.0).filter(|_| span > 4.5) {
        return (calendar_ticks(first, last, step * 12), 4);
    }
    if span > 4.5 {
        return (calendar_ticks(first, last, 1_200), 4);
    }
    if let Some((_, months)) =
        MONTHS.into_iter().find(|(years, _)| span / years <= 9.0).filter(|_| span > 0.3)
    {
        return (calendar_ticks(first, last, months), 7);
    }
    let hours = (last - first) / 3_600_000.0;
    let step = HOURS.into_iter().find(|step| hours / f64::from(*step) <= 8.0).unwrap_or(336);
    let step_millis = f64::from(step) * 3_600_000.0;
    let mut marks = Vec::new();
    let mut mark = (first / step_millis).ceil() * step_millis;
    while mark <= last && marks.len() < 20 {
        marks.push(mark);
        mark += step_millis;
    }
    (marks, if step >= 24 { 10 } else { 16 })
}

/// The first instants of every `step`-th month since January of year 0.
fn calendar_ticks(first: f64, last: f64, step: i32) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let start = Timestamp::from_millis(first as i64).to_string();
    let Ok(start) = start.trim_end_matches('Z').parse::<DateTime>() else { return Vec::new() };
    let mut month = (i32::from(start.year()) * 12 + i32::from(start.month()) - 1).div_euclid(step) * step;
    let mut marks = Vec::new();
    while marks.len() < 20 {
        let date = i16::try_from(month.div_euclid(12))
            .ok()
            .zip(i8::try_from(month.rem_euclid(12) + 1).ok())
            .and_then(|(year, month)| Date::new(year, month, 1).ok());
        let Some(at) = date.and_then(|date| date.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok())
        else {
            break;
        };
        let millis = at.timestamp().as_millisecond() as f64;
        if millis > last {
            break;
        }
        if millis >= first {
            marks.push(millis);
        }
        month += step;
    }
    marks
}

fn time_label(millis: f64, length: usize) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let text = Timestamp::from_millis(millis as i64).to_string();
    text.chars().take(length).collect::<String>().replace('T', " ")
}

/// A share in whole per cent; adding zero turns a rounded `-0` into `0`.
fn percent(share: f64) -> String {
    format!("{} %", (share * 100.0).round() + 0.0)
}

/// `12345.6` as `12,346`.
fn grouped(value: f64) -> String {
    if value.abs() < 100.0 && value != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && (digits.len() - index).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> f64 {
        text.parse::<Timestamp>().unwrap().as_millis() as f64
    }

    fn labels(first: &str, last: &str) -> Vec<String> {
        let (marks, length) = ticks(at(first), at(last));
        marks.into_iter().map(|mark| time_label(mark, length)).collect()
    }

    #[test]
    fn ticks_stand_where_the_calendar_turns() {
        assert_eq!(
            labels("1986-01-02T00:00:00Z", "2019-01-03T00:00:00Z"),
            ["1990", "1995", "2000", "2005", "2010", "2015"]
        );
        assert_eq!(
            labels("2023-02-01T00:00:00Z", "2024-01-15T00:00:00Z"),
            ["2023-04", "2023-07", "2023-10", "2024-01"]
        );
        assert_eq!(
            labels("2024-01-02T09:30:00Z", "2024-01-02T16:00:00Z").first().unwrap(),
            "2024-01-02 10:00"
        );
        assert!(!labels("2024-01-02T00:00:00Z", "2024-02-20T00:00:00Z").is_empty());
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let times: Vec<Timestamp> =
            (0..100_000).map(|second| Timestamp::from_millis(second * 1000)).collect();
        let mut values = vec![1.0; times.len()];
        values[54_321] = 9.0;
        values[76_543] = -9.0;
        let points = thin(&times, &values);
        assert!(points.len() <= 2 * COLUMNS);
        assert!(points.contains(&(54_321_000.0, 9.0)) && points.contains(&(76_543_000.0, -9.0)));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_rounded_zero_has_no_sign() {
        assert_eq!([-1e-9, -0.204].map(percent), ["0 %", "-20 %"]);
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [0.0, 12.5, 999.0, 12_345.6, 1_000_000.0].map(grouped);
        assert_eq!(shown, ["0", "12.50", "999", "12,346", "1,000,000"]);
    }
}
